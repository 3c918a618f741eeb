"""Models at hand and models to be had: list, fetch, import.

    embedder = pull(PUBLIC["v3-small"], folder, opener=urllib.request.build_opener())
    for model in shelf(default_model_path().parent, folder):
        ...

Only `pull` uses the network, and only when it is called.
"""

from edge_sim.model_library.placing import import_classifier
from edge_sim.model_library.public import PUBLIC, PublicModel
from edge_sim.model_library.pulling import Limits, Opener, Pulled, Watch, download, pull
from edge_sim.model_library.shelf import Shelved, shelf
from edge_sim.model_library.soundness import red_to_blue_cosine

__all__ = [
    "PUBLIC",
    "Limits",
    "Opener",
    "PublicModel",
    "Pulled",
    "Shelved",
    "Watch",
    "download",
    "import_classifier",
    "pull",
    "red_to_blue_cosine",
    "shelf",
]
