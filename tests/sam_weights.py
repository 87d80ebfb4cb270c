"""SAM with random weights that give particle-like masks, small or of the real size.

transformers initialises its encoder to about zero, and plain random weights give noise over the
whole frame: either way a comparison of masks would prove little. Here the image side looks for
the token whose position resembles its own (queries and keys of that attention share weights), and
the last layer is fitted so that discs of three radii around the prompt come out; the image bends
their borders. Nothing is learned about images: these are test weights, not a model.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import (
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

RADII = (12, 20, 32)  # of 256 low-resolution pixels
STEEPNESS = 80.0


def random_sam(
    seed: int = 0,
    hidden: int = 96,
    layers: int = 2,
    side: int = 1024,
    mlp: int = 2048,
    normal: float = 1e-6,
) -> Any:
    """Make a SAM; hidden=768, layers=12 is ViT-B. `normal` is the decoder's epsilon."""
    generator = torch.Generator().manual_seed(seed)
    every = max(1, layers // 4)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(1, hidden // 64),
            image_size=side,
            global_attn_indexes=list(range(every, layers, every)) if layers < 12 else [2, 5, 8, 11],
        ),
        prompt_encoder_config=SamPromptEncoderConfig(image_size=side),
        mask_decoder_config=SamMaskDecoderConfig(mlp_dim=mlp, layer_norm_eps=normal),
    )
    with torch.device("meta"):
        bare: Any = SamModel._from_config(config, attn_implementation="sdpa")
    model: Any = bare.to_empty(device="cpu").eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            _fill(name, value, generator)
        _shape(model)
        _fit(model, generator)
    gaussian = model.prompt_encoder.shared_embedding.positional_embedding
    model.shared_image_embedding.positional_embedding = gaussian
    return model


def _fill(name: str, value: torch.Tensor, generator: torch.Generator) -> None:
    spread = 0.1
    if "positional_embedding" in name:
        spread = 1.5
    elif "iou_token" in name or "mask_tokens" in name or "not_a_point" in name:
        spread = 0.3
    elif "point_embed" in name or "no_mask_embed" in name:
        spread = 1.0
    elif "rel_pos" in name or "pos_embed" in name:
        spread = 0.2
    elif value.dim() > 1:
        inputs = value.shape[0] if "upscale_conv" in name else value[0].numel()
        spread = inputs**-0.5
    value.copy_(torch.randn(value.shape, generator=generator) * spread)
    if "norm" in name and name.endswith("weight"):
        value.add_(1)


def _shape(model: Any) -> None:
    """Let the image side find the prompt's own token by position."""
    model.shared_image_embedding.positional_embedding = (
        model.prompt_encoder.shared_embedding.positional_embedding
    )
    model.vision_encoder.neck.layer_norm2.weight.mul_(0.2)
    foreground = model.prompt_encoder.point_embed[1].weight[0]
    foreground = foreground / foreground.norm()
    for layer in model.mask_decoder.transformer.layers:
        layer.mlp.lin2.weight.mul_(0.2)
        layer.cross_attn_token_to_image.out_proj.weight.mul_(0.2)
        layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
        layer.self_attn.q_proj.weight.mul_(2)
        layer.layer_norm3.weight.mul_(0.15)
        layer.layer_norm3.bias.mul_(0.15)
        look = layer.cross_attn_image_to_token
        look.v_proj.weight.div_(0.15)
        look.k_proj.weight.copy_(look.q_proj.weight)
        look.k_proj.weight.sub_(torch.outer(look.k_proj.weight @ foreground, foreground))
        look.q_proj.weight.mul_(6)
        look.q_proj.bias.zero_()
        look.k_proj.bias.zero_()
        look.out_proj.weight.mul_(10)
    for conv in (model.mask_decoder.upscale_conv1, model.mask_decoder.upscale_conv2):
        conv.weight.copy_(0.95 * conv.weight[:, :, :1, :1] + 0.05 * conv.weight)
    head = model.mask_decoder.iou_prediction_head.proj_out
    head.weight.mul_(0.3)
    head.bias.fill_(0.92)


def _fit(model: Any, generator: torch.Generator) -> None:
    """Choose the last layer by least squares so that discs come out."""
    decoder = model.mask_decoder
    grid = model.config.prompt_encoder_config.image_embedding_size
    side, count = 4 * grid, 12
    seen: dict[str, torch.Tensor] = {}
    hook = decoder.upscale_conv2.register_forward_hook(
        lambda module, inputs, output: seen.update(f=torch.nn.functional.gelu(output))
    )
    points = torch.rand(count, 1, 2, generator=generator, dtype=torch.float64) * side * 4
    model(
        image_embeddings=torch.randn(1, 256, grid, grid, generator=generator) * 0.2,
        input_points=points[None],
        input_labels=torch.ones(1, count, 1, dtype=torch.int64),
    )
    hook.remove()
    line = torch.arange(side)
    across = line[None, None, :] - points[:, 0, 0, None, None] / 4
    down = line[None, :, None] - points[:, 0, 1, None, None] / 4
    distance = (across**2 + down**2).sqrt()
    features = seen["f"].permute(0, 2, 3, 1).flatten(0, 2).double()
    ridge = 1e-2 * features.var(0).mean() * torch.eye(features.shape[1]).double()
    for index, radius in enumerate(RADII, start=1):
        target = (STEEPNESS * ((radius * side / 256 - distance) / 2).clamp(-1, 1)).flatten()
        inside = target > 0
        weight = torch.where(inside, 1 / inside.double().mean(), 1 / (~inside).double().mean())
        weighted = features * weight[:, None]
        solution = torch.linalg.solve(
            weighted.T @ features + len(features) * ridge, weighted.T @ target
        ).float()
        head = decoder.output_hypernetworks_mlps[index].proj_out
        head.weight.mul_(0.01 * solution.std())
        head.bias.copy_(solution)


# transformers name -> official name, written down from the two packages' module trees
_OFFICIAL = [
    (r"^vision_encoder\.", "image_encoder."),
    (r"^image_encoder\.layers\.", "image_encoder.blocks."),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"neck\.conv1", "neck.0"),
    (r"neck\.layer_norm1", "neck.1"),
    (r"neck\.conv2", "neck.2"),
    (r"neck\.layer_norm2", "neck.3"),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"shared_embedding\.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (r"layer_norm(\d)", r"norm\1"),
    (r"(iou_prediction_head|mlps\.\d)\.layers\.0", r"\1.layers.1"),
    (r"(iou_prediction_head|mlps\.\d)\.proj_in", r"\1.layers.0"),
    (r"(iou_prediction_head|mlps\.\d)\.proj_out", r"\1.layers.2"),
]


def official(model: Any) -> dict[str, torch.Tensor]:
    """The same weights under the official package's names."""
    tensors = {}
    for key, value in model.state_dict().items():
        if key.startswith("shared_image_embedding"):
            continue
        for pattern, name in _OFFICIAL:
            key = re.sub(pattern, name, key)
        tensors[key] = value.clone()
    return tensors


def save(model: Any, folder: Path, name: str = "sam_vit_test") -> tuple[Path, Path]:
    """Write the folder of transformers and the official .pth; return both paths."""
    model.save_pretrained(folder / name)
    torch.save(official(model), folder / f"{name}.pth")
    return folder / name, folder / f"{name}.pth"
