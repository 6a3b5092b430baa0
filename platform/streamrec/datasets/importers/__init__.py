"""Importers: one source format each, all to the neutral format.

What may not go in: guesses. A row that an importer cannot read goes to quarantine with its reason.
"""

from streamrec.datasets.importers.movielens import import_movielens
from streamrec.datasets.importers.neutral import import_neutral
from streamrec.datasets.importers.report import FileReport, ImportReport

__all__ = ["FileReport", "ImportReport", "import_movielens", "import_neutral"]
