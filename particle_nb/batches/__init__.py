"""Many images in one run: resumable, on processes of this machine or on a Dask cluster."""

from particle_nb.batches.comparing import compare_batches, write_comparison
from particle_nb.batches.results import SUFFIXES, BatchResult, batch, read_batch
from particle_nb.batches.summary import BatchSummary, summarise
from particle_nb.batches.work import BatchSettings

__all__ = [
    "SUFFIXES",
    "BatchResult",
    "BatchSettings",
    "BatchSummary",
    "batch",
    "compare_batches",
    "read_batch",
    "summarise",
    "write_comparison",
]
