"""Kill kernels that annotate one file at the same time: nothing that was acknowledged is lost.

Two processes open one annotation and save at every commit; one of them is killed at a random
moment, nearly always in the middle of a save, and starts again. Whatever either of them was told
to be saved must be in one of the files that are left, each of which can be read.

    python -m tests.kills --count 100
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from particle_nb.core.annotation.annotation import Annotation
from particle_nb.core.annotation.archive import read_archive
from particle_nb.core.errors import DataError
from particle_nb.core.image import Image

IMAGE = Image(np.zeros((64, 64), np.uint8), None, "kills")
SLOW = 0.004  # seconds that a disk takes: half of the time goes by between first byte and rename
PATIENCE = 60.0  # seconds until a kernel has saved once
ROUND = 10  # kills on one file, so that it does not grow for ever


@dataclass
class Tally:
    """What happened: kills, commits that were acknowledged, conflicts told, saves cut in half."""

    kills: int = 0
    acknowledged: int = 0
    conflicts: int = 0
    halves: int = 0
    lost: list[str] = field(default_factory=list)


@dataclass
class Kernel:
    """A process that annotates; its acknowledged commits come through a pipe."""

    pid: int
    pipe: int
    rest: bytes = b""
    said: list[str] = field(default_factory=list)
    conflicts: int = 0

    def listen(self, seconds: float) -> bool:
        """Take what it says within so many seconds; False at the end of it."""
        if not select.select([self.pipe], [], [], seconds)[0]:
            return True
        data = os.read(self.pipe, 65536)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"conflict"):
                self.conflicts += 1
            else:
                self.said.append(line.decode())
        return bool(data)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        while self.listen(10):
            pass
        os.close(self.pipe)


def start(file: Path, name: str) -> Kernel:
    """Fork a kernel: all that it needs is imported already."""
    out, into = os.pipe()
    pid = os.fork()
    if pid:
        os.close(into)
        return Kernel(pid, out)
    try:
        os.close(out)
        work(file, name, into)
    finally:
        os._exit(1)


def work(file: Path, name: str, into: int) -> None:
    sync = os.fsync
    os.fsync = lambda handle: (time.sleep(SLOW), sync(handle))[1]  # type: ignore[assignment]
    made = Annotation(None, IMAGE, autosave=file)
    number = 0
    while True:
        x = number % 50
        label = f"{name}-{number}"
        path = [[x, 1], [x + 9, 1], [x + 9, 9], [x, 9]]
        try:
            made.do("polygon", path=path, label=label)
        except DataError as error:
            # told once, and saved all the same
            if "nothing is lost" not in str(error):
                os.write(into, f"ERROR {error}\n".encode())
                os._exit(1)
            os.write(into, b"conflict\n")
        os.write(into, f"{label}\n".encode())
        number += 1


def on_disk(folder: Path, known: dict[str, tuple[int, set[str]]]) -> set[str]:
    """The labels in all annotations of a folder; files that did not change are not read again."""
    found: set[str] = set()
    for path in folder.glob("*.pnb"):
        stamp = path.stat().st_mtime_ns
        if path.name not in known or known[path.name][0] != stamp:
            particles = read_archive(path).history.state.particles.values()
            known[path.name] = stamp, {particle.mask.label for particle in particles}
        found |= known[path.name][1]
    return found


def run(count: int, folder: Path, seed: int = 0) -> Tally:
    """Kill so many kernels; two are at work on one file at any time."""
    rng, tally, known = random.Random(seed), Tally(), {}
    halves: set[str] = set()
    kernels: list[Kernel] = []
    file = folder
    try:
        while tally.kills < count:
            if tally.kills % ROUND == 0:
                for kernel in kernels:
                    kernel.kill()
                file = folder / f"{tally.kills:04d}.pnb"
                kernels = [start(file, f"{tally.kills}{side}") for side in "ab"]
            late = time.monotonic() + PATIENCE
            while not all(kernel.said for kernel in kernels):
                for kernel in kernels:
                    kernel.listen(0.01)
                assert time.monotonic() < late, "a kernel says nothing"
            until = time.monotonic() + rng.uniform(0.005, 0.06)
            while (left := until - time.monotonic()) > 0:
                for kernel in kernels:
                    kernel.listen(left / 2)
            number = rng.randrange(2)
            kernels[number].kill()
            kernels[1 - number].listen(0)
            tally.kills += 1
            halves |= {path.name for path in folder.glob(".*.part")}
            said = {label for kernel in kernels for label in kernel.said}
            tally.lost += sorted(said - on_disk(folder, known))
            tally.acknowledged += len(kernels[number].said)
            tally.conflicts += kernels[number].conflicts
            tally.halves = len(halves)
            kernels[number] = start(file, f"{tally.kills}r{number}")
    finally:
        for kernel in kernels:
            kernel.kill()
    said = {label for kernel in kernels for label in kernel.said}
    tally.lost += sorted(said - on_disk(folder, known))
    tally.acknowledged += sum(len(kernel.said) for kernel in kernels)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="kills (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = run(given.count, Path(folder), given.seed)
    print(
        f"{tally.kills} kills, {tally.acknowledged} acknowledged commits, "
        f"{tally.conflicts} conflicts told, {tally.halves} saves found half written, "
        f"{len(tally.lost)} acknowledged commits lost"
    )
    for label in tally.lost[:10]:
        print("lost:", label)
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
