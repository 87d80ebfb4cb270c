"""Who does the images of a batch: this process, others of this machine, or a Dask cluster."""

from __future__ import annotations

import concurrent.futures as futures
import hashlib
import json
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from particle_nb.batches.store import Store
from particle_nb.batches.work import BatchSettings, Job, model_key, start_worker, work
from particle_nb.core.errors import DataError, ImageError, ModelError
from particle_nb.progress import progress_bar


@dataclass
class Pool:
    """Something with submit(), how many calls it works on at once, and the model it loaded.

    `renew` makes another one of that many processes after one has died; None where a dead worker
    is the cluster's own business.
    """

    executor: Any
    width: Callable[[], int]
    model: str = ""
    renew: Callable[[int], Any] | None = None


@contextmanager
def pool_of(settings: BatchSettings, workers: int, client: Any) -> Iterator[Pool]:
    """Start the workers and have one of them load the model.

    Raises
    ------
    DataError
        If the client is none.
    ModelError
        If the model cannot be loaded or no worker starts.
    """
    if client is not None:
        if not callable(getattr(client, "get_executor", None)):
            raise DataError(
                f"client must be a dask.distributed.Client, not {type(client).__name__}."
            )
        # equal calls can differ by what is in the files, so none is taken for another
        pool = Pool(client.get_executor(pure=False), lambda: sum(client.nthreads().values()))
    elif workers == 1:
        pool = Pool(futures.ThreadPoolExecutor(1), lambda: 1)
    else:
        threads = settings.threads or max(1, (os.cpu_count() or 1) // workers)

        def renew(count: int) -> futures.Executor:
            context = multiprocessing.get_context("spawn")
            return futures.ProcessPoolExecutor(count, context, start_worker, (threads,))

        pool = Pool(renew(workers), lambda: workers, renew=renew)
    try:
        try:
            pool.model = pool.executor.submit(model_key, settings).result()
        except BrokenProcessPool:
            raise ModelError(
                "the worker processes do not start. A script must guard its call of batch with "
                "if __name__ == '__main__':; or the model needs more memory than there is."
            ) from None
        yield pool
    finally:
        pool.executor.shutdown(wait=client is None)


@dataclass(frozen=True)
class _Task:
    index: int


def run(
    jobs: list[Job], settings: BatchSettings, store: Store, pool: Pool, progress: bool
) -> list[dict[str, Any]]:
    """Do what is not done yet; returns one record per job, in their order."""
    key = settings.result_key(pool.model)
    rows: dict[int, dict[str, Any]] = {}
    owner: dict[str, str] = {}
    running: dict[futures.Future, _Task] = {}
    suspects: list[_Task] = []

    with progress_bar("images", len(jobs), show=progress, keep=True) as bar:

        def settle(task: _Task, outcome: futures.Future) -> None:
            rows[task.index] = _outcome(jobs[task.index], key, outcome, store, owner)
            bar.update()

        def collect(when: str) -> None:
            done, _ = futures.wait(running, return_when=when)
            for outcome in done:
                task = running.pop(outcome)
                if pool.renew and _worker_died(outcome):
                    suspects.append(task)
                else:
                    settle(task, outcome)

        for index, job in enumerate(jobs):
            known, _ = _known(job, key, store, owner)
            if known is not None:
                rows[index] = known
                bar.update()
                continue
            # a queue twice as long as the pool is wide keeps it busy and memory bounded
            while len(running) >= 2 * max(1, pool.width()):
                collect(futures.FIRST_COMPLETED)
            task = _Task(index)
            try:
                running[pool.executor.submit(work, job, settings)] = task
            except BrokenProcessPool:
                suspects.append(task)
            if suspects:
                collect(futures.ALL_COMPLETED)
                _one_by_one(suspects, jobs, settings, pool, settle)
        collect(futures.ALL_COMPLETED)
        if suspects:
            _one_by_one(suspects, jobs, settings, pool, settle)
    return [rows[index] for index in range(len(jobs))]


def _one_by_one(
    suspects: list[_Task],
    jobs: list[Job],
    settings: BatchSettings,
    pool: Pool,
    settle: Callable[[_Task, futures.Future], None],
) -> None:
    """Find which image killed a worker: alone in a process it can be told from its neighbours."""
    assert pool.renew is not None  # only a pool of processes has suspects
    pool.executor.shutdown(wait=True)
    single = pool.renew(1)
    try:
        while suspects:
            task = suspects.pop(0)
            outcome = single.submit(work, jobs[task.index], settings)
            futures.wait([outcome])
            settle(task, outcome)
            if _worker_died(outcome):
                single.shutdown(wait=True)
                single = pool.renew(1)
    finally:
        single.shutdown(wait=True)
    pool.executor = pool.renew(pool.width())


def _worker_died(outcome: futures.Future) -> bool:
    return not outcome.cancelled() and isinstance(outcome.exception(), BrokenProcessPool)


def _known(
    job: Job, key: str, store: Store, owner: dict[str, str]
) -> tuple[dict[str, Any] | None, str]:
    """The record of a job that needs no work or None, and the name of the part that it fills."""
    base = {"image": job.name, "path": _text(job.path)}
    try:
        part = _part(store.inputs(job.path), job, key)
    except (OSError, ImageError) as error:
        return base | _failure(error), ""
    if part in owner:
        return base | _duplicate(owner[part]), part
    owner[part] = job.name
    record = store.read(part)
    return None if record is None else record | base, part


def _text(path: Path) -> str:
    """A path for tables; it need not be text."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _part(inputs: str, job: Job, key: str) -> str:
    """The name of a result: all that it depends on."""
    text = json.dumps([inputs, job.pixel_size, key])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _duplicate(other: str) -> dict[str, Any]:
    return {"status": "duplicate", "n": 0, "message": f"same as {other}"}


def _outcome(
    job: Job, key: str, outcome: futures.Future, store: Store, owner: dict[str, str]
) -> dict[str, Any]:
    base = {"image": job.name, "path": _text(job.path)}
    if outcome.cancelled():
        return base | _failure(futures.CancelledError("the cluster cancelled this image"))
    # whatever one image raises is that image's failure: the others go on
    error = outcome.exception()
    if error is not None:
        return base | _failure(error)
    record, data = outcome.result()
    # the worker names what it read, which may be newer than what was there when the run began
    part = _part(record["inputs"], job, key)
    if owner.setdefault(part, job.name) != job.name:
        return base | _duplicate(owner[part])
    record = base | {"status": "done", **record, "part": part}
    store.write(part, record, data, job.path)
    return record


def _failure(error: BaseException) -> dict[str, Any]:
    message = str(error).encode("utf-8", "backslashreplace").decode() or type(error).__name__
    if isinstance(error, BrokenProcessPool):
        message = "the worker process died on this image; is there enough memory?"
    where = traceback.extract_tb(error.__traceback__)
    at = f"{Path(where[-1].filename).name}:{where[-1].lineno}" if where else ""
    return {
        "status": "failed",
        "n": 0,
        "error": type(error).__name__,
        "message": message,
        "error_at": at,
    }
