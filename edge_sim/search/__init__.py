"""Search in galleries and indexes: ranking, indexes and their files, near-duplicates.

searcher = Searcher(collection_of_index(store))
for hit in searcher.search(query, search_filter).hits:
    print(hit.name, hit.score)
"""
