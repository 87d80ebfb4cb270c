"""What a batch has on the disk: parts, records and the joined tables."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from particle_nb.core.errors import DataError
from particle_nb.core.files import atomic

# seconds after which a temporary file is nobody's
_STALE = 3600


class Store:
    """One Parquet and one JSON file per finished image in ``parts``; the JSON makes it count."""

    def __init__(self, folder: Path) -> None:
        self.parts = folder / "parts"
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the folder {str(folder)!r} cannot be made: {error}.") from None
        self._records: dict[str, dict[str, Any]] = {}
        self._files: dict[str, tuple[list[int], str]] = {}
        for path in self.parts.glob(".*"):
            # left by a run that was killed while it wrote; younger ones may be another run's
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink(missing_ok=True)
        for path in self.parts.glob("*.json"):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                self._records[path.stem] = record
                self._files[record["path"]] = (record["stat"], record["file_digest"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # damaged by a crash of the machine: that image is done again

    def parquet(self, part: str) -> Path:
        """Return where the table of an image lies, by the part's name in its record."""
        return self.parts / f"{part}.parquet"

    def read(self, part: str) -> dict[str, Any] | None:
        """The record of a finished part, or None where it is missing or half-written."""
        record = self._records.get(part)
        try:
            if record is None or self.parquet(part).stat().st_size != record["bytes"]:
                return None
            if pq.read_metadata(self.parquet(part)).num_rows != record["n"]:
                return None
        except (OSError, KeyError, pa.ArrowException):
            return None
        return record

    def write(self, part: str, record: dict[str, Any], data: bytes, path: Path) -> None:
        """Write an image's table (Parquet bytes) and then its record, each whole or not at all."""
        stat, digest = self._files[str(path)]
        whole = record | {"bytes": len(data), "stat": stat, "file_digest": digest}
        with atomic(self.parquet(part)) as stream:
            stream.write(data)
        with atomic(self.parts / f"{part}.json") as stream:
            stream.write(json.dumps(whole, indent=1).encode())
        self._records[part] = whole

    def file_digest(self, path: Path) -> str:
        """SHA-256 of a file's bytes; not read again while its size and time stay as recorded."""
        found = path.stat()
        stat = [found.st_size, found.st_mtime_ns]
        known = self._files.get(str(path))
        if known is None or list(known[0]) != stat:
            with open(path, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            known = self._files[str(path)] = (stat, digest)
        return known[1]


def finish(folder: Path, rows: list[dict[str, Any]], store: Store) -> None:
    """Join the parts, in the order of the images, one row group each."""
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
    with atomic(folder / "images.csv") as stream:
        stream.write(images.to_csv(index=False).encode())


def _images_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    texts = ["image", "path", "status", "scale", "image_digest", "masks_digest", "segmenter"]
    texts += ["weights", "notes", "error", "message", "error_at", "part"]
    table = pd.DataFrame(rows).drop(columns=["bytes", "stat"], errors="ignore")
    for name in texts:
        column = table[name] if name in table else pd.Series("", index=table.index)
        table[name] = column.fillna("").astype(str)
    for name in ("n", "proposed", "height_px", "width_px"):
        column = table[name] if name in table else pd.Series(0, index=table.index)
        table[name] = column.fillna(0).astype(np.int64)
    table["seconds"] = table["seconds"].astype(float) if "seconds" in table else np.nan
    removed = table.pop("removed") if "removed" in table else pd.Series(None, index=table.index)
    table["removed"] = [
        ", ".join(f"{count} {stage}" for stage, count in entry.items())
        if isinstance(entry, Mapping)
        else ""
        for entry in removed
    ]
    order = ["image", "status", "n", "proposed", "removed", "seconds", "message", "error"]
    order += ["notes", "path", "height_px", "width_px", "scale", "segmenter", "weights"]
    order += ["image_digest", "masks_digest", "error_at", "part"]
    return table[order]
