"""Near-duplicates among the pictures of an index: groups, and which pictures to keep.

Nothing is deleted here or anywhere in edge_sim: the result is a list.
"""

from edge_sim.duplicates.files import Distinct, FileFacts, distinct_files
from edge_sim.duplicates.grouping import Group, Kept, duplicate_groups, worth_of
from edge_sim.duplicates.likeness import THRESHOLD, likeness_among

__all__ = [
    "THRESHOLD",
    "Distinct",
    "FileFacts",
    "Group",
    "Kept",
    "distinct_files",
    "duplicate_groups",
    "likeness_among",
    "worth_of",
]
