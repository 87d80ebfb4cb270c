"""The segment-anything package itself behind the toolkit's protocol: slower, the reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from particle_nb.core.errors import ModelError
from particle_nb.core.image import Image
from particle_nb.core.image.window import checked_window
from particle_nb.core.masks import Mask, MaskSet, Prompt
from particle_nb.models.pixels import to_rgb
from particle_nb.models.protocols import Embedding, Encode, Progress, Window
from particle_nb.models.sam.automatic import AutomaticSettings
from particle_nb.models.sam.checkpoint import EncoderSizes, read_checkpoint, sizes_of
from particle_nb.models.sam.crops import Frame
from particle_nb.models.sam.prompts import checked_prompt, innermost, sketch_logits
from particle_nb.models.weights import pick_device, weights_digest

_INSTALL = "pip install segment-anything torchvision"


def build(sizes: EncoderSizes, tensors: dict[str, torch.Tensor]) -> Any:
    """Return the package's own Sam of these sizes with these weights.

    Raises
    ------
    ModelError
        If segment-anything or torchvision cannot be imported, or tensors are missing.
    """
    try:
        from segment_anything.modeling import (
            ImageEncoderViT,
            MaskDecoder,
            PromptEncoder,
            Sam,
            TwoWayTransformer,
        )
    except (ImportError, RuntimeError, OSError) as error:
        # RuntimeError and OSError: a torchvision that does not fit the installed torch
        raise ModelError(
            f"the segment-anything package or its torchvision is missing or unusable ({error}). "
            f"Install both with: {_INSTALL}   - or load the same checkpoint without them by its "
            "path alone."
        ) from None
    grid = (sizes.grid, sizes.grid)
    model = Sam(
        image_encoder=ImageEncoderViT(
            depth=sizes.layers,
            embed_dim=sizes.hidden,
            img_size=sizes.image,
            mlp_ratio=sizes.mlp / sizes.hidden,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=sizes.heads,
            patch_size=sizes.patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=sizes.global_layers,
            window_size=sizes.window,
            out_chans=sizes.channels,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=sizes.channels,
            image_embedding_size=grid,
            input_image_size=(sizes.image, sizes.image),
            mask_in_chans=sizes.mask_channels,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=sizes.masks,
            transformer=TwoWayTransformer(
                depth=sizes.decoder_layers,
                embedding_dim=sizes.channels,
                mlp_dim=sizes.decoder_mlp,
                num_heads=8,
                attention_downsample_rate=sizes.decoder_rate,
            ),
            transformer_dim=sizes.channels,
            iou_head_depth=sizes.iou_depth,
            iou_head_hidden_dim=sizes.iou_hidden,
        ),
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"the checkpoint does not fit the package: {error}") from None
    return model.eval()


def load_original(source: str, device: str = "auto") -> OriginalSam:
    """Load an official checkpoint into the segment-anything package; see `sam.load_original`."""
    if not source:
        raise ModelError(
            "which checkpoint? Name it behind a colon: 'segment-anything:sam_vit_b_01ec64.pth'."
        )
    place = pick_device(device)
    path = Path(source).expanduser()
    tensors = read_checkpoint(path)
    model = build(sizes_of(tensors), tensors).to(place)
    return OriginalSam(model, path.stem, weights_digest(tensors))


@dataclass(frozen=True, eq=False)
class OriginalSam:
    """The segment-anything package as a segmenter.

    Parameters
    ----------
    model : segment_anything.modeling.Sam
    name, digest : str
    settings : AutomaticSettings
        Of the automatic mode; `crop_merge` is always ``"layered"`` here.
    """

    model: Any = field(repr=False)
    name: str
    digest: str
    settings: AutomaticSettings = field(default_factory=AutomaticSettings)

    def with_settings(self, settings: AutomaticSettings) -> OriginalSam:
        """Return the same model with other settings of the automatic mode."""
        return replace(self, settings=settings)

    def encode(self, image: Image, window: Window | None = None) -> Embedding:
        """Encode an image or a window of it with the package's predictor."""
        place = checked_window(window, image.shape)
        x0, y0, x1, y1 = place
        predictor = self._predictor()
        with torch.inference_mode():
            predictor.set_image(np.ascontiguousarray(to_rgb(image)[y0:y1, x0:x1]))
        return Embedding(
            model=self.name,
            weights=self.digest,
            image=image.digest,
            shape=image.shape,
            window=place,
            arrays={"features": predictor.features},
            meta={"resized": list(predictor.input_size)},
        )

    def predict(self, embedding: Embedding, prompt: Prompt) -> MaskSet:
        """Return up to three candidates, best predicted IoU first; see `Sam.predict`."""
        checked_prompt(prompt, embedding)
        if embedding.weights != self.digest:
            raise ModelError("the embedding was made by other weights; encode the image again.")
        x0, y0, x1, y1 = embedding.window
        size = (y1 - y0, x1 - x0)
        height, width = embedding.meta["resized"]
        side = int(self.model.image_encoder.img_size)
        low = 4 * int(self.model.prompt_encoder.image_embedding_size[0])
        frame = Frame(low, side, (int(height), int(width)), size)
        points, labels, box, drawn = (
            list(prompt.points),
            list(prompt.labels or ()),
            prompt.box,
            None,
        )
        if prompt.sketch is not None:
            sketch = prompt.sketch[y0:y1, x0:x1]
            rows, cols = np.flatnonzero(sketch.any(axis=1)), np.flatnonzero(sketch.any(axis=0))
            box = box or (x0 + cols[0], y0 + rows[0], x0 + cols[-1], y0 + rows[-1])
            if not points:
                points, labels = [innermost(sketch, (x0, y0))], [1]
            drawn = sketch_logits(sketch, frame)[None]
        predictor = self._predictor()
        predictor.original_size, predictor.input_size = size, (int(height), int(width))
        predictor.features = torch.as_tensor(embedding.arrays["features"], device=self.model.device)
        predictor.is_image_set = True
        origin = np.array([x0, y0], float)
        with torch.inference_mode():
            _, scores, logits = predictor.predict(
                np.array(points, float) - origin if points else None,
                np.array(labels) if points else None,
                np.array(box, float) - np.tile(origin, 2) if box is not None else None,
                drawn,
                return_logits=True,
            )
        masks = []
        for index in np.argsort(-scores, kind="stable"):
            crop = frame.crop(logits[index], self.settings.stability_score_offset)
            if crop.pixels.any():
                place = (y0 + crop.row, x0 + crop.col)
                found = float(scores[index]), crop.stability
                masks.append(
                    Mask(place, crop.pixels, embedding.shape, *found, grid_px=frame.grid_px)
                )
        return MaskSet(tuple(masks), embedding.shape)

    def generate(
        self, image: Image, encode: Encode | None = None, progress: Progress | None = None
    ) -> MaskSet:
        """Automatic mode of the package; it encodes for itself and reports no progress."""
        from segment_anything import SamAutomaticMaskGenerator

        s = self.settings
        if s.min_mask_region_area:
            try:
                import cv2  # noqa: F401
            except ImportError:
                raise ModelError(
                    "the package needs OpenCV for min_mask_region_area; install it with: "
                    "pip install opencv-python-headless"
                ) from None
        generator = SamAutomaticMaskGenerator(
            self.model,
            points_per_side=s.points_per_side,
            points_per_batch=s.points_per_batch or 64,
            pred_iou_thresh=s.pred_iou_thresh,
            stability_score_thresh=s.stability_score_thresh,
            stability_score_offset=s.stability_score_offset,
            box_nms_thresh=s.box_nms_thresh,
            crop_n_layers=s.crop_n_layers,
            crop_nms_thresh=s.crop_nms_thresh,
            crop_overlap_ratio=s.crop_overlap_ratio,
            crop_n_points_downscale_factor=s.crop_n_points_downscale_factor,
            min_mask_region_area=s.min_mask_region_area,
        )
        found = generator.generate(to_rgb(image))
        low = 4 * int(self.model.prompt_encoder.image_embedding_size[0])
        if progress is not None:
            progress(1, 1)
        masks = [
            Mask.from_full(
                np.asarray(record["segmentation"], bool),
                predicted_iou=record["predicted_iou"],
                stability_score=record["stability_score"],
                # the crop that it was found in, as the package writes it: (x, y, width, height)
                grid_px=max(1.0, max(record["crop_box"][2:]) / low),
            )
            for record in found
            if record["area"]
        ]
        return MaskSet(tuple(masks), image.shape)

    def _predictor(self) -> Any:
        from segment_anything import SamPredictor

        return SamPredictor(self.model)
