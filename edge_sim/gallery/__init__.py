"""Reference pictures: the gallery, its file with history, enrolment, import and export.

with GalleryStore.open("gallery.db", create=True) as store:
    store.add("bowl", references)
    gallery = store.gallery("bowl", model_id=embedder.model_id)
"""
