"""Search: which pictures of a gallery or an index are most, or least, like a query.

searcher = Searcher(collection_of_index(store))
for hit in searcher.search(Query(embedding, thumbnail), Wanted(top_k=10)).hits:
    print(hit.name, hit.score)
"""

from edge_sim.search.adapting import adapted, adapted_query
from edge_sim.search.collection import (
    Collection,
    collection_of_gallery,
    collection_of_index,
    collection_of_store,
)
from edge_sim.search.searcher import Searcher
from edge_sim.search.wanted import METRICS, Answer, Hit, Query, Wanted

__all__ = [
    "METRICS",
    "Answer",
    "Collection",
    "Hit",
    "Query",
    "Searcher",
    "Wanted",
    "adapted",
    "adapted_query",
    "collection_of_gallery",
    "collection_of_index",
    "collection_of_store",
]
