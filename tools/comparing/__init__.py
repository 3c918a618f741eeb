"""The figures of a comparison as Markdown, and where they stand in a document."""

from __future__ import annotations

from comparing.document import with_section
from comparing.tables import figures_of_readme, tables_of

__all__ = ["figures_of_readme", "tables_of", "with_section"]
