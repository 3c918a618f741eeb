"""The exception tree. Every error that a user can cause or meet is one of these.

    EdgeSimError
    ├── ConfigError(ValueError)     a configuration that cannot be used; exit code 78
    ├── SourceError(OSError)        a camera, stream, file or picture that cannot be read
    │   └── AccessError             a path that the file system denies access to
    ├── PictureError(ValueError)    an array that is not a usable picture
    ├── ModelError(RuntimeError)    a model file or runtime that cannot be used
    ├── GalleryError(ValueError)    a gallery file or a change to it that is rejected
    │   └── PictureRejectedError    a picture that would make the gallery worse
    ├── SearchError(ValueError)     an index that cannot be used, or a query it cannot answer
    ├── SinkError(OSError)          an event that could not be delivered
    │   └── EventRejectedError       an event that the receiver will never take; it is not retried
    ├── CommandError(ValueError)    a command from outside that is rejected
    │   └── AgainstEvidenceError     a correction that contradicts what the gallery is sure of
    ├── DataError(ValueError)       labelled data that cannot be evaluated
    ├── PackError(ValueError)       a pack or its signed metadata that is rejected
    └── CollectionError(OSError)    a collection of events that cannot be reached or used

The message is one line that names what is wrong, where, and the fix.
"""

from __future__ import annotations

from edge_sim.secrets import mask_secrets


class EdgeSimError(Exception):
    """Root of every error that edge_sim raises on purpose."""

    def __str__(self) -> str:
        # OSError formats (errno, text) pairs on its own; ours always carry one sentence.
        return mask_secrets(str(self.args[0])) if self.args else type(self).__name__


class ConfigError(EdgeSimError, ValueError):
    """The configuration cannot be used.

    Args:
        messages: One line for each thing that is wrong with it.
    """

    def __init__(self, *messages: str) -> None:
        self.messages = tuple(map(mask_secrets, messages))
        super().__init__("; ".join(self.messages))


class SourceError(EdgeSimError, OSError):
    """A camera, stream, file or picture cannot be read."""


class PictureError(EdgeSimError, ValueError):
    """An array is not a usable picture."""


class AccessError(SourceError):
    """The file system denies access to a path."""


class ModelError(EdgeSimError, RuntimeError):
    """A model file or a TFLite runtime cannot be used."""


class GalleryError(EdgeSimError, ValueError):
    """A gallery cannot be read, or a change to it is rejected."""


class PictureRejectedError(GalleryError):
    """A picture would make the gallery worse.

    Args:
        message: One line for people.
        reason: One word, as in `dark`, `blurred`, `duplicate`, `conflict`.
        like: Id of the reference that it resembles too much; None if there is none.
    """

    def __init__(self, message: str, *, reason: str, like: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.like = like


class SearchError(EdgeSimError, ValueError):
    """An index cannot be read or searched."""


class SinkError(EdgeSimError, OSError):
    """An event could not be delivered."""


class EventRejectedError(SinkError):
    """The receiver will never take this event."""


class CommandError(EdgeSimError, ValueError):
    """A command from outside is rejected."""


class AgainstEvidenceError(CommandError):
    """A correction contradicts what the gallery is sure of, and was not forced."""


class DataError(EdgeSimError, ValueError):
    """Labelled data cannot be evaluated."""


class PackError(EdgeSimError, ValueError):
    """A pack, its signed metadata or a key is rejected; the device stays as it was."""


class CollectionError(EdgeSimError, OSError):
    """The database or the broker of a collection cannot be reached or used."""


class VectorError(CollectionError):
    """A vector, or a search by one, does not fit the collection; another one would."""
