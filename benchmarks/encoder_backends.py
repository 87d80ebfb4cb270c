"""The embedded encoder under other runtimes: is there a faster one on a processor?

    pip install openvino nncf       # nncf for int8
    OMP_NUM_THREADS=1 python -m benchmarks.encoder_backends --data EMPS

One pass of the encoder over a 1200 x 1920 px picture, one thread, runtimes in turns, CPU seconds;
beside it how far the maps are from PyTorch's in the mean, in standard deviations of each map. int8
is calibrated on eight training images of EMPS, and looked at only where `--data` is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.embedded import picture
from particle_nb.core.image import Image
from particle_nb.models import load_model
from particle_nb.models.embedded.network import PromptableNetwork
from particle_nb.models.embedded.segmenter import EmbeddedSegmenter
from particle_nb.models.tuning.lessons import Lesson
from particle_nb.models.tuning.scoring import mean_f1, scores_of
from training.segmenter.evaluate import read_folder

Runtime = Callable[[torch.Tensor], np.ndarray]


def compiled(model: object) -> Runtime:
    """An OpenVINO model on one thread of this processor, float32 unless it holds int8."""
    import openvino as ov

    config = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    run = ov.Core().compile_model(model, "CPU", config)
    return lambda image: np.asarray(run([image.numpy()])[0])


def seen(model: EmbeddedSegmenter, image: Image) -> torch.Tensor:
    """The finest view of a picture as the encoder gets it, (1, 1, h, w)."""
    return model.views(model.encode(image))[0].image


class Replaced:
    """The embedded network with its encoder run by something else."""

    def __init__(self, network: PromptableNetwork, run: Runtime) -> None:
        self.network, self.run = network, run

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """As the network's own."""
        return torch.from_numpy(self.run(image).copy())


def main() -> None:
    """Print a line a runtime."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("embedded", "segmenter", "cpu")
    assert isinstance(model, EmbeddedSegmenter)
    network = model.network.eval()
    image = seen(model, picture(1200, 1920, 260))
    ways: dict[str, Runtime] = {}
    with torch.inference_mode():
        ways["torch"] = lambda x: network.encode(x).numpy()
    import openvino as ov

    with torch.no_grad():
        whole = ov.convert_model(network.encoder, example_input=image, input=[1, 1, -1, -1])
    ways["openvino, float32"] = compiled(whole)
    if given.data is not None:
        import nncf

        images = [one for one, _ in itertools.islice(read_folder(given.data, "train"), 0, 320, 40)]
        data = nncf.Dataset([seen(model, one) for one in images], lambda x: x.numpy())
        ways["openvino, int8"] = compiled(nncf.quantize(whole, data, subset_size=8))
    spent: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        maps = {name: run(image) for name, run in ways.items()}
        for _ in range(given.runs):
            for name, run in ways.items():
                began = time.process_time()
                run(image)
                spent[name].append(time.process_time() - began)
    if given.data is not None:
        pairs = itertools.islice(read_folder(given.data), 0, None, 4)
        truths = [Lesson(image.name or "", image, masks) for image, masks in pairs]
        for name in ("torch", "openvino, int8"):
            other = dataclasses.replace(model, network=Replaced(network, ways[name]))
            score = mean_f1(scores_of(other, truths, clicks=False))
            print(f"{name}: mean F1 {score:.4f} on {len(truths)} validation images of EMPS")
    truth = maps["torch"]
    scale = truth.std(axis=(0, 2, 3), keepdims=True)
    for name, times in spent.items():
        off = float((np.abs(maps[name] - truth) / scale).mean())
        ratio = statistics.median(times) / statistics.median(spent["torch"])
        print(f"{name}: {statistics.median(times):.2f} CPU s, {ratio:.2f}, maps off {off:.2g}")


if __name__ == "__main__":
    main()
