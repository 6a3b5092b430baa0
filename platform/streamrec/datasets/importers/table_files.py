"""Foreign tables as batches of rows: CSV, TSV, JSON lines, Parquet, plain or compressed; pyarrow reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.json

from streamrec.contracts.errors import DataFolderError
from streamrec.datasets.importers.columns import BATCH_ROWS, ParquetParts
from streamrec.datasets.quarantine import QuarantinedRow, Reason

BLOCK_BYTES: Final = 8 * 2**20

_COMPRESSED: Final = frozenset({".gz", ".bz2", ".zst", ".lz4"})
_DELIMITERS: Final = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}
_RECBOLE: Final = frozenset({".inter", ".item", ".user"})
_JSON_LINES: Final = frozenset({".jsonl", ".ndjson", ".json"})


@dataclass(frozen=True)
class TableForm:
    """How text files are written, where their names do not say it.

    Attributes:
        delimiter: Between fields; None: a comma in ``.csv``, a tab in ``.tsv`` and RecBole's files.
        encoding: Of the text.
        columns: Names of the columns of an interactions file without a header.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()


@dataclass
class OpenedTable:
    """The batches of a file, and the lines that could not be cut into columns so far."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    malformed: list[QuarantinedRow] = field(default_factory=list)


@contextmanager
def open_table(path: Path, form: TableForm) -> Iterator[OpenedTable]:
    """Yield ``path`` opened; memory is bounded by a block of it.

    Raises:
        DataFolderError: The file is missing, of an unknown format or unreadable; also while the block runs.
    """
    if not path.exists():
        raise DataFolderError(path, None, "the file does not exist")
    try:
        suffixes = [suffix.lower() for suffix in path.suffixes]
        suffix = next((name for name in reversed(suffixes) if name not in _COMPRESSED), "")
        if path.is_dir() or suffix in (".parquet", ".pq"):
            with ParquetParts(path) as parts:
                yield OpenedTable(parts.schema_arrow, parts.iter_batches(BATCH_ROWS))
        elif suffix in _JSON_LINES:
            with pa.input_stream(str(path), compression="detect") as stream:
                options = pa.json.ReadOptions(block_size=BLOCK_BYTES)
                reader = pa.json.open_json(stream, read_options=options)
                yield OpenedTable(reader.schema, iter(reader))
        elif form.delimiter or suffix in _DELIMITERS:
            with pa.input_stream(str(path), compression="detect") as stream:
                yield _delimited(stream, form.delimiter or _DELIMITERS[suffix], form, suffix)
        else:
            raise DataFolderError(
                path, None, "the name tells no format (.csv, .tsv, .jsonl, .parquet); pass --delimiter"
            )
    except (pa.ArrowException, OSError, UnicodeError) as error:
        hint = "; text that is not UTF-8 needs --encoding" if "invalid UTF8" in str(error) else ""
        raise DataFolderError(path, None, f"cannot be read ({error}){hint}") from error


def _delimited(stream: Any, delimiter: str, form: TableForm, suffix: str) -> OpenedTable:
    malformed: list[QuarantinedRow] = []

    def set_aside(row: Any) -> str:
        malformed.append(QuarantinedRow(row.number or 0, Reason.WRONG_COLUMN_COUNT, None, row.text))
        return "skip"

    reader = pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            encoding=form.encoding,
            column_names=list(form.columns) or None,
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if delimiter != "\t" else False,
            invalid_row_handler=set_aside,
        ),
        # As text: what a value is the checks say, row by row, not the first block for the whole file.
        convert_options=pa.csv.ConvertOptions(
            default_column_type=pa.string(), strings_can_be_null=True, null_values=[""]
        ),
    )
    names = reader.schema.names
    if suffix in _RECBOLE:
        names = [name.split(":")[0] for name in names]
    schema = pa.schema([(name, kind) for name, kind in zip(names, reader.schema.types, strict=True)])
    renamed = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader)
    return OpenedTable(schema, renamed, malformed)
