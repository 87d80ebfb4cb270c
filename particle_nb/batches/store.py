"""What a batch has on the disk: parts, records and the joined tables."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from particle_nb.batches.work import Inputs
from particle_nb.core.errors import DataError
from particle_nb.core.exports import write_csv
from particle_nb.core.files import Stamp, atomic, parse_json, read_regular, sweep
from particle_nb.core.image.reading import checked_path
from particle_nb.core.image.vendors import sidecars

# a file that was written this shortly before it was read may be written again under one time
_RACE_NS = 2_000_000_000
_LARGEST_RECORD, _LARGEST_PART = 2**24, 2**33
_WORDS = ("image", "path", "scale", "image_digest", "masks_digest", "segmenter", "weights", "notes")
_COUNTS = ("n", "proposed", "height_px", "width_px", "bytes")


class Store:
    """One Parquet and one JSON file per finished image in ``parts``; the JSON makes it count."""

    def __init__(self, folder: Path) -> None:
        self.parts = folder / "parts"
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {str(folder)!r} cannot be made: {error}.") from None
        self._records: dict[str, dict[str, Any]] = {}
        self._files: dict[str, tuple[list[list[int]], str]] = {}
        # left by a run that was killed while it wrote; younger ones may be another run's
        sweep(self.parts)
        for path in self.parts.glob("*.json"):
            try:
                data, _ = read_regular(path, _LARGEST_RECORD)
                record = parse_json(data, path.name)
            except DataError:
                continue  # damaged by a crash of the machine: that image is done again
            if not _is_record(record):
                continue
            self._records[path.stem] = record
            stamps = record.get("stamps")
            if isinstance(stamps, list):
                self._files[record["path"]] = (stamps, record["inputs"])

    def parquet(self, part: str) -> Path:
        """Return where the table of an image lies, by the part's name in its record."""
        return self.parts / f"{part}.parquet"

    def read(self, part: str) -> dict[str, Any] | None:
        """The record of a finished part, or None where it is missing, damaged or half-written."""
        record = self._records.get(part)
        if record is None:
            return None
        try:
            data, _ = read_regular(self.parquet(part), _LARGEST_PART)
            if hashlib.sha256(data).hexdigest() != record.get("table_digest"):
                return None
            rows = pq.read_metadata(io.BytesIO(data)).num_rows
        except (DataError, OSError, pa.ArrowException):
            return None
        return record if rows == record["n"] else None

    def write(self, part: str, record: dict[str, Any], data: bytes, path: Path) -> None:
        """Write an image's table (Parquet bytes) and then its record, each whole or not at all."""
        digest = hashlib.sha256(data).hexdigest()
        whole = record | {"bytes": len(data), "table_digest": digest}
        stamps, inputs = self._files.get(str(path), (None, ""))
        if inputs == record["inputs"]:
            whole["stamps"] = stamps
        with atomic(self.parquet(part)) as stream:
            stream.write(data)
        with atomic(self.parts / f"{part}.json") as stream:
            stream.write(json.dumps(whole, indent=1).encode())
        self._records[part] = whole

    def inputs(self, path: Path) -> str:
        """Digest of a picture and its sidecars; not read again while nobody has written to them.

        That is told by size, times of writing and of any change, and the file's own number, where
        the system keeps them, and only if they were old when the file was read.
        """
        checked_path(path)
        found = [list(dataclasses.astuple(Stamp.of(os.stat(file)))) for file in _files_of(path)]
        known = self._files.get(str(path))
        if known is None or known[0] != found or os.name == "nt":
            began = time.time_ns()
            inputs = Inputs.of(path)
            stamps = [list(dataclasses.astuple(stamp)) for stamp in inputs.stamps]
            old = all(max(stamp[-2:]) < began - _RACE_NS for stamp in stamps)
            known = self._files[str(path)] = (stamps if old else [], inputs.digest)
        return known[1]


def _files_of(path: Path) -> list[Path]:
    return [path, *sidecars(path)]


def _is_record(record: Any) -> bool:
    """Whether all that is used of a record has the type that it was written with."""
    return (
        isinstance(record, dict)
        and record.get("status") == "done"
        and all(isinstance(record.get(name), str) for name in (*_WORDS, "inputs", "part"))
        and all(type(record.get(name)) is int and record[name] >= 0 for name in _COUNTS)
        and type(record.get("seconds")) in (int, float)
        and isinstance(record.get("removed"), dict)
        and all(type(count) is int and count >= 0 for count in record["removed"].values())
        and isinstance(record.get("estimator", ""), str)
        and isinstance(record.get("filters", {}), dict)
        and max(record[name] for name in _COUNTS) < 2**62
    )


def finish(folder: Path, rows: list[dict[str, Any]], store: Store) -> None:
    """Join the parts, in the order of the images, one row group each.

    Raises
    ------
    DataError
        If a part cannot be read any more, or does not fit the others.
    """
    try:
        _join(folder, rows, store)
    except (OSError, pa.ArrowException, ValueError, KeyError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"the parts in {store.parts} do not make one table ({type(error).__name__}: {error}); "
            "delete that folder and run the batch again."
        ) from None


def _join(folder: Path, rows: list[dict[str, Any]], store: Store) -> None:
    done = [row for row in rows if row["status"] == "done" and row["n"]]
    empty = [row for row in rows if row["status"] == "done" and not row["n"]]
    schema = pq.read_schema(store.parquet((done or empty)[0]["part"])) if done or empty else None
    with atomic(folder / "particles.parquet") as stream:
        if schema is None:
            schema = pa.schema([("image", pa.string())])
        # pandas' own note on the first table would be repeated for all
        with pq.ParquetWriter(stream, schema.remove_metadata()) as writer:
            for row in done:
                table = pq.read_table(store.parquet(row["part"])).cast(schema)
                # a file may have been renamed since it was measured
                names = pa.array([row["image"]] * table.num_rows, pa.string())
                table = table.set_column(table.schema.get_field_index("image"), "image", names)
                writer.write_table(
                    table.cast(schema.remove_metadata()), row_group_size=table.num_rows
                )
    images = _images_table(rows)
    with atomic(folder / "images.parquet") as stream:
        pq.write_table(pa.Table.from_pandas(images, preserve_index=False), stream)
    write_csv(images, folder / "images.csv")


def counts_text(counts: Mapping[str, int]) -> str:
    """Return how many masks each stage removed, as the table of images has it.

    Examples
    --------
    >>> counts_text({"size": 3, "form": 1}), counts_of("3 size, 1 form")
    ('3 size, 1 form', {'size': 3, 'form': 1})
    """
    return ", ".join(f"{count} {stage}" for stage, count in counts.items())


def counts_of(text: str) -> dict[str, int]:
    """Return what `counts_text` made a text of."""
    pairs = (part.split(" ", 1) for part in text.split(", ") if part)
    return {stage: int(count) for count, stage in pairs}


def _images_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    texts = ["image", "path", "status", "scale", "image_digest", "masks_digest", "segmenter"]
    texts += ["weights", "estimator", "filters", "classes", "features", "notes"]
    texts += ["error", "message", "error_at", "part"]
    table = pd.DataFrame(rows)
    if "filters" in table:
        table["filters"] = [
            json.dumps(entry) if isinstance(entry, Mapping) else "" for entry in table["filters"]
        ]
    for name in texts:
        column = table[name] if name in table else pd.Series("", index=table.index)
        # a path need not be text
        table[name] = [
            str(text).encode("utf-8", "backslashreplace").decode() for text in column.fillna("")
        ]
    for name in ("n", "proposed", "height_px", "width_px"):
        column = table[name] if name in table else pd.Series(0, index=table.index)
        table[name] = column.fillna(0).astype(np.int64)
    table["seconds"] = table["seconds"].astype(float) if "seconds" in table else np.nan
    removed = table.pop("removed") if "removed" in table else pd.Series(None, index=table.index)
    table["removed"] = [
        counts_text(entry) if isinstance(entry, Mapping) else "" for entry in removed
    ]
    order = ["image", "status", "n", "proposed", "removed", "seconds", "message", "error"]
    order += ["notes", "path", "height_px", "width_px", "scale", "segmenter", "weights"]
    order += ["estimator", "filters", "classes", "features", "image_digest", "masks_digest"]
    order += ["error_at", "part"]
    return table[order]
