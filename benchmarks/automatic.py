"""Automatic mode: ours against transformers' pipeline and the original package, same weights.

Runs in the parity environment (see `make parity`), e.g.

    OMP_NUM_THREADS=2 .venv-parity/bin/python benchmarks/automatic.py --points 8 --runs 3

Every run is a process of its own, and the three take turns, so that a busy machine slows all
alike. A process loads its model first; timed is the way from the image to scores, boxes and RLEs.
The medians' ratios are printed only where RLE, boxes and scores of all runs agree: ours on the
official .pth with the original package, ours on the folder with the pipeline.

The weights are random but give particle-like masks (tests/sam_weights.py); the architecture is
the real ViT-B unless --encoder small.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEER = {"original": "ours-pth", "pipeline": "ours-folder"}
IOU = 1e-5  # scores are float32 after a thousand products in another order


def picture(side: int):
    """300 bright discs on a dark ground, uint8 (side, side, 3)."""
    import numpy as np

    rng = np.random.default_rng(0)
    image = rng.normal(60, 8, (side, side))
    rows, cols = np.mgrid[:side, :side]
    for x, y, r, v in zip(
        rng.uniform(0, side, 300), rng.uniform(0, side, 300),
        rng.uniform(0.008, 0.03, 300) * side, rng.uniform(110, 220, 300), strict=True,
    ):  # fmt: skip
        box = np.s_[max(0, int(y - r)) : int(y + r) + 2, max(0, int(x - r)) : int(x + r) + 2]
        inside = (rows[box] - y) ** 2 + (cols[box] - x) ** 2 < r * r
        image[box][inside] += v - 60
    grey = np.clip(image, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def run_length(mask) -> list[int]:
    """Uncompressed COCO run lengths of a cropped mask, without its full frame."""
    import numpy as np

    height, width = mask.shape
    r0, c0, r1, c1 = mask.bbox
    columns = np.zeros((c1 - c0, height), np.int8)
    columns[:, r0:r1] = mask.crop.T
    flat = np.concatenate([[0], columns.ravel(), [0]]).astype(np.int8)
    ends = np.flatnonzero(np.diff(flat)) + c0 * height
    total = height * width
    runs = np.diff(np.concatenate([[0], ends, [total]])).tolist()
    return runs[:-1] if runs[-1] == 0 else runs


def child(role: str, folder: Path, points: int, side: int) -> dict:
    """Do one timed run and return what came out."""
    import numpy as np
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    pixels = picture(side)
    if role == "original":
        from segment_anything import SamAutomaticMaskGenerator

        from particle_nb.models.sam import load_original

        package = load_original(str(folder / "sam_vit_test.pth"), "cpu")
        model = SamAutomaticMaskGenerator(
            package.model, points_per_side=points, output_mode="uncompressed_rle"
        )
    elif role == "pipeline":
        from PIL import Image as Pillow
        from transformers import MaskGenerationPipeline, SamModel
        from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

        model = MaskGenerationPipeline(
            model=SamModel.from_pretrained(folder / "sam_vit_test").eval(),
            image_processor=SamImageProcessorPil(),
        )
    else:
        from particle_nb.core.image import Image
        from particle_nb.models.sam import load
        from particle_nb.models.sam.automatic import AutomaticSettings
        from particle_nb.models.sam.crops import Frame

        source = folder / ("sam_vit_test.pth" if role == "ours-pth" else "sam_vit_test")
        model = load(str(source), "cpu", AutomaticSettings(points_per_side=points))
        Frame(8, 32, (32, 32), (30, 30)).crop(np.eye(8, dtype=np.float32), 1.0)  # compiled once
    wall, cpu = time.perf_counter(), time.process_time()
    if role == "original":
        found = model.generate(pixels)
        rles = [m["segmentation"]["counts"] for m in found]
        boxes = [m["bbox"] for m in found]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in boxes]
        scores = [m["predicted_iou"] for m in found]
    elif role == "pipeline":
        found = model(
            Pillow.fromarray(pixels), points_per_crop=points,
            output_rle_mask=True, output_bboxes_mask=True,
        )  # fmt: skip
        rles = [m["counts"] for m in found["rle_mask"]]
        boxes, scores = found["bounding_boxes"].tolist(), found["scores"].tolist()
    else:
        found = model.generate(Image(pixels))
        rles = [run_length(m) for m in found]
        boxes = [[m.bbox[1], m.bbox[0], m.bbox[3] - 1, m.bbox[2] - 1] for m in found]
        scores = found.predicted_iou.tolist()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "rles": rles, "boxes": boxes, "scores": scores}


def pixels_apart(first: list[int], second: list[int]) -> int:
    """Count the pixels in which two run-length codes differ."""
    import numpy as np

    masks = [np.repeat(np.arange(len(runs)) % 2, runs) for runs in (first, second)]
    return int(np.count_nonzero(masks[0] != masks[1]))


def agree(first: dict, second: dict) -> str:
    """Return what differs, or an empty text."""
    if len(first["rles"]) != len(second["rles"]):
        return f"{len(first['rles'])} masks against {len(second['rles'])}"
    pairs = list(zip(first["rles"], second["rles"], strict=True))
    if different := [pixels_apart(a, b) for a, b in pairs if a != b]:
        return f"{len(different)} of {len(pairs)} RLEs differ, by {sum(different)} pixels in all"
    if first["boxes"] != second["boxes"]:
        return "boxes differ"
    worst = max(
        (abs(a - b) for a, b in zip(first["scores"], second["scores"], strict=True)), default=0
    )
    return f"scores differ by {worst:.1e}" if worst > IOU else ""


def main(arguments: list[str] | None = None) -> int:
    """Run the processes in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=8, help="points along each side")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", type=int, default=1024, help="side of the image in pixels")
    parser.add_argument("--encoder", choices=["vit_b", "small"], default="vit_b")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "benchmark-automatic")
    parser.add_argument("--roles", nargs="+", default=[r for p in PEER.items() for r in p])
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "parity")]
    import torchvision_ops

    torchvision_ops.register()
    folder = options.work / options.encoder
    if options.child:
        result = child(options.child, folder, options.points, options.side)
        (options.work / f"{options.child}.json").write_text(json.dumps(result))
        return 0
    if not (folder / "sam_vit_test.pth").is_file():
        from sam_weights import random_sam, save

        folder.mkdir(parents=True, exist_ok=True)
        size = {"hidden": 768, "layers": 12} if options.encoder == "vit_b" else {}
        save(random_sam(seed=0, **size), folder)
    results: dict[str, list[dict]] = {role: [] for role in options.roles}
    for _ in range(options.runs):
        for role in options.roles:
            command = [sys.executable, __file__, "--child", role, "--work", str(options.work)]
            command += ["--points", str(options.points), "--side", str(options.side)]
            subprocess.run([*command, "--encoder", options.encoder], check=True)
            results[role].append(json.loads((options.work / f"{role}.json").read_text()))
    out = sys.stdout.write
    middle = {
        role: {k: statistics.median(r[k] for r in runs) for k in ("wall", "cpu")}
        for role, runs in results.items()
    }
    out(f"{options.encoder}, {options.points} x {options.points} points, {options.runs} runs\n")
    for role, runs in results.items():
        out(
            f"{role:12s} {middle[role]['wall']:8.1f} s wall {middle[role]['cpu']:8.1f} s CPU  "
            f"{len(runs[0]['rles'])} masks\n"
        )
    refused = 0
    for peer, ours in PEER.items():
        if peer not in results or ours not in results:
            continue
        problems = {agree(a, b) for a in results[ours] for b in results[peer]} - {""}
        count = len(results[peer][0]["rles"])
        if problems or not count:
            out(f"against {peer}: NO RATIO, {'; '.join(sorted(problems)) or 'no masks'}\n")
            refused += 1
            continue
        ratio = {k: middle[peer][k] / middle[ours][k] for k in ("wall", "cpu")}
        out(
            f"against {peer}: {ratio['wall']:.2f}x wall, {ratio['cpu']:.2f}x CPU, "
            f"{count} of {count} masks identical\n"
        )
    return 1 if refused else 0


if __name__ == "__main__":
    raise SystemExit(main())
