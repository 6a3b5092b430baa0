"""Importers: one source format each, all to the neutral format.

What may not go in: guesses. A row that an importer cannot read goes to quarantine with its reason.
"""

from streamrec.datasets.importers.movielens import import_movielens
from streamrec.datasets.importers.neutral import import_neutral
from streamrec.datasets.importers.report import FileReport, ImportReport
from streamrec.datasets.importers.table import TablePreview, TableSource, import_table, preview
from streamrec.datasets.importers.table_files import TableForm

__all__ = [
    "FileReport",
    "ImportReport",
    "TableForm",
    "TablePreview",
    "TableSource",
    "import_movielens",
    "import_neutral",
    "import_table",
    "preview",
]
