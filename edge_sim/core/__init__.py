"""Values, events, protocols, and pure functions on pixels and vectors; needs nothing of ours.

Read `types` first: a frame is cropped to the region of each watch and becomes a probe; the scorer
compares the probe with the references of the watch's gallery and gives a match; the decider turns
observations into state changes. Values are frozen and validated once, at construction.
"""
