"""Official segment-anything checkpoints, read safely and renamed for transformers.

EncoderSizes are read from the tensors themselves, so any checkpoint of that layout loads: Meta's
``sam_vit_{b,l,h}*.pth`` and fine-tuned ones (micro-sam's, MedSAM's) alike.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from particle_nb.core.errors import ModelError
from particle_nb.models.sam.prompts import Preprocessing
from particle_nb.models.weights import _HUB, _json, cached

#: (hidden size, layers) of the published encoders.
SIZES = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}

_GAUSSIAN = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"

# official name -> transformers name, applied in this order
_RENAME = [
    (r"^image_encoder\.", "vision_encoder."),
    (r"\.pe_layer\.positional_encoding_gaussian_matrix$", ".shared_embedding.positional_embedding"),
    (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"\.neck\.0\.", ".neck.conv1."),
    (r"\.neck\.1\.", ".neck.layer_norm1."),
    (r"\.neck\.2\.", ".neck.conv2."),
    (r"\.neck\.3\.", ".neck.layer_norm2."),
    (r"\.point_embeddings\.", ".point_embed."),
    (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
    (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
    (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
    (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
    (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
    (r"\.output_upscaling\.0\.", ".upscale_conv1."),
    (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
    (r"\.output_upscaling\.3\.", ".upscale_conv2."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
]

_MLP = re.compile(
    r"^mask_decoder\.(iou_prediction_head|output_hypernetworks_mlps\.\d+)\.layers\.(\d+)\."
)


@dataclass(frozen=True)
class EncoderSizes:
    """What the tensors of an official checkpoint say about the model they belong to."""

    hidden: int
    layers: int
    heads: int
    mlp: int
    patch: int
    grid: int
    window: int
    global_layers: tuple[int, ...]
    channels: int
    position: int
    mask_channels: int
    decoder_layers: int
    decoder_mlp: int
    decoder_rate: int
    masks: int
    iou_hidden: int
    iou_depth: int

    @property
    def name(self) -> str:
        """``"vit_b"``, ``"vit_l"``, ``"vit_h"``, or ``"custom"``."""
        return SIZES.get((self.hidden, self.layers), "custom")

    @property
    def image(self) -> int:
        """Side of the encoder's input in pixels."""
        return self.grid * self.patch


# what the unpickler of tensors raises on bytes that are no checkpoint
_DAMAGED = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read an official checkpoint's tensors; no code of the file is run.

    Wrappers (``model_state``, ``state_dict``, ``model``) and prefixes (``sam.``, ``module.``)
    of training scripts are taken off.

    Parameters
    ----------
    path : Path
        A ``.pth``, ``.pt`` or ``.safetensors`` file.

    Raises
    ------
    ModelError
        If the file is missing, truncated, would run code when unpickled, or holds no SAM.
    """
    if not path.is_file():
        raise ModelError(f"no checkpoint at {str(path)!r}; give the path of a sam_vit_*.pth file.")
    again = "get it again, e.g. from https://github.com/facebookresearch/segment-anything"
    if path.stat().st_size == 0:
        raise ModelError(f"{str(path)!r} is empty (0 bytes); {again}.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _is_archive(path):
            raise ModelError(
                f"{str(path)!r} holds more than tensors and was not opened, because unpickling it "
                f"could run code ({str(error).splitlines()[0]}). Save its state_dict alone "
                "with torch.save, or convert it to safetensors."
            ) from None
        raise ModelError(
            f"{str(path)!r} is no PyTorch checkpoint, or is damaged; {again}."
        ) from None
    except _DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{str(path)!r} cannot be read ({reason}): it is cut short or no checkpoint; {again}."
        ) from None
    except _safetensors_error() as error:
        raise ModelError(f"{str(path)!r} is a damaged safetensors file ({error}).") from None
    return _unwrap(loaded, path)


def _safetensors_error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


def _is_archive(path: Path) -> bool:
    """Whether a file is a whole zip archive or a bare pickle."""
    try:
        if zipfile.is_zipfile(path):
            return True
    except zipfile.BadZipFile:  # its directory claims several disks
        return False
    with path.open("rb") as stream:
        return stream.read(2) in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(3):
        inner = None
        if isinstance(loaded, Mapping):
            inner = next(
                (loaded[key] for key in ("model_state", "state_dict", "model") if key in loaded),
                None,
            )
        if not isinstance(inner, Mapping):
            break
        loaded = inner
    tensors = {}
    if isinstance(loaded, Mapping):
        for key, value in loaded.items():
            if isinstance(key, str) and isinstance(value, Tensor):
                plain = re.sub(r"^(?:(?:sam|module|model|_orig_mod)\.)+", "", key)
                if plain in tensors:
                    raise ModelError(
                        f"{str(path)!r} holds {plain!r} twice, of two models; save the state_dict "
                        "of one of them."
                    )
                tensors[plain] = value
    if _GAUSSIAN not in tensors or "image_encoder.patch_embed.proj.weight" not in tensors:
        kind = "another model's weights" if tensors else f"a {type(loaded).__name__}"
        raise ModelError(
            f"{str(path)!r} holds {kind}, not a Segment Anything ViT (b, l or h) of the official "
            "layout; its names start with image_encoder.patch_embed, prompt_encoder, mask_decoder."
        )
    return tensors


def sizes_of(tensors: Mapping[str, Tensor]) -> EncoderSizes:
    """Recognise the model from the shapes of official tensors.

    Raises
    ------
    ModelError
        If a tensor that tells a size is missing or shapes contradict each other.
    """

    def shape(key: str) -> torch.Size:
        if key not in tensors:
            raise ModelError(f"the checkpoint lacks {key!r}; it is incomplete or no SAM ViT.")
        return tensors[key].shape

    def count(prefix: str) -> int:
        found = {int(m[1]) for k in tensors if (m := re.match(prefix + r"\.(\d+)\.", k))}
        if found != set(range(len(found))) or not found:
            raise ModelError(f"the checkpoint lacks layers of {prefix!r}; it is incomplete.")
        return len(found)

    encoder, decoder = "image_encoder", "mask_decoder"
    hidden, _, patch, _ = shape(f"{encoder}.patch_embed.proj.weight")
    _, grid, _, _ = shape(f"{encoder}.pos_embed")
    layers = count(f"{encoder}.blocks")
    reach = [shape(f"{encoder}.blocks.{i}.attn.rel_pos_h") for i in range(layers)]
    if hidden % reach[0][1]:
        raise ModelError("the checkpoint's head size does not divide its width; it is damaged.")
    local = [r[0] for r in reach if r[0] != 2 * grid - 1]
    cross = f"{decoder}.transformer.layers.0"
    channels = shape(f"{encoder}.neck.0.weight")[0]
    return EncoderSizes(
        hidden=hidden,
        layers=layers,
        heads=hidden // reach[0][1],
        mlp=shape(f"{encoder}.blocks.0.mlp.lin1.weight")[0],
        patch=patch,
        grid=grid,
        window=(local[0] + 1) // 2 if local else 0,
        global_layers=tuple(i for i, r in enumerate(reach) if r[0] == 2 * grid - 1),
        channels=channels,
        position=shape(_GAUSSIAN)[1],
        mask_channels=shape("prompt_encoder.mask_downscaling.3.weight")[0],
        decoder_layers=count(f"{decoder}.transformer.layers"),
        decoder_mlp=shape(f"{cross}.mlp.lin1.weight")[0],
        decoder_rate=channels // shape(f"{cross}.cross_attn_token_to_image.q_proj.weight")[0],
        masks=shape(f"{decoder}.mask_tokens.weight")[0] - 1,
        iou_hidden=shape(f"{decoder}.iou_prediction_head.layers.0.weight")[0],
        iou_depth=count(f"{decoder}.iou_prediction_head.layers"),
    )


def config_of(sizes: EncoderSizes) -> Any:
    """Return the ``transformers.SamConfig`` of an official checkpoint.

    The decoder's layer normalisations keep the original package's epsilon, 1e-5;
    transformers' own configuration says 1e-6.
    """
    from transformers import (
        SamConfig,
        SamMaskDecoderConfig,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    return SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=sizes.hidden,
            output_channels=sizes.channels,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            image_size=sizes.image,
            patch_size=sizes.patch,
            window_size=sizes.window,
            global_attn_indexes=list(sizes.global_layers),
            num_pos_feats=sizes.position,
            mlp_dim=sizes.mlp,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=sizes.channels,
            image_size=sizes.image,
            patch_size=sizes.patch,
            mask_input_channels=sizes.mask_channels,
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=sizes.channels,
            mlp_dim=sizes.decoder_mlp,
            num_hidden_layers=sizes.decoder_layers,
            attention_downsample_rate=sizes.decoder_rate,
            num_multimask_outputs=sizes.masks,
            iou_head_depth=sizes.iou_depth,
            iou_head_hidden_dim=sizes.iou_hidden,
            layer_norm_eps=1e-5,
        ),
    )


def to_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename official tensors for ``transformers.SamModel``; the values stay the same objects."""
    depth = {
        m[1]: max(int(n[2]) for k in tensors if (n := _MLP.match(k)) and n[1] == m[1])
        for key in tensors
        if (m := _MLP.match(key))
    }
    renamed = {}
    for key, value in tensors.items():
        if m := _MLP.match(key):
            place = int(m[2])
            part = (
                "proj_in" if place == 0
                else "proj_out" if place == depth[m[1]]
                else f"layers.{place - 1}"
            )  # fmt: skip
            key = f"mask_decoder.{m[1]}.{part}.{key[m.end() :]}"
        for pattern, name in _RENAME:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    gaussian = renamed["prompt_encoder.shared_embedding.positional_embedding"]
    renamed["shared_image_embedding.positional_embedding"] = gaussian
    return renamed


_SUFFIXES = (".pth", ".pt", ".safetensors")


def load_weights(source: str) -> tuple[Any, str, Preprocessing]:
    """Find a SAM and return (transformers.SamModel on the CPU, its name, its preprocessing).

    Parameters
    ----------
    source : str
        A local folder with config.json and safetensors, an official checkpoint
        (.pth, .pt, .safetensors), or a hub id in the local cache.

    Raises
    ------
    ModelError
        If nothing is found there, or what is found is damaged or no SAM.
    """
    if not isinstance(source, str) or not source.strip():
        raise ModelError(
            "which SAM? Give a hub id (facebook/sam-vit-huge), a folder with config.json, or an "
            f"official sam_vit_*.pth file. Get one with: {_HUB}"
        )
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(path, path.name)
    if path.is_file() or path.suffix in _SUFFIXES:
        return _from_checkpoint(path)
    return _from_folder(cached(source), source)


# pixel statistics that some programs save along; they are what the reader uses anyway
_STATISTICS = {
    "pixel_mean": (123.675, 116.28, 103.53),
    "pixel_std": (58.395, 57.12, 57.375),
}
# names by which fine-tuned models with more than SAM's own layers are known
_ADAPTERS = (
    ("LoRA", r"lora|linear_[abq]_|w_[ab]_|linear_[ab]_[qkv]"),
    ("an adapter", r"adapter|prompt_generator|mona|ssf_"),
    ("HQ-SAM", r"hf_token|hf_mlp|compress_vit|embedding_encoder|embedding_maskfeature"),
    ("SAM 2", r"memory_|obj_ptr|maskmem"),
)


def refuse_extra(extra: Mapping[str, Tensor | None], path: Path) -> None:
    """Refuse tensors for which a plain SAM has no place: without them it is another model.

    Raises
    ------
    ModelError
        If there is one; it names the kind of adapter where the names tell it.
    """
    left = []
    for key, value in extra.items():
        usual = _STATISTICS.get(key)
        if usual is None or value is None or not _equals(value, usual):
            left.append(key)
    if not left:
        return
    left.sort()
    kinds = [kind for kind, names in _ADAPTERS if any(re.search(names, k, re.I) for k in left)]
    kind = f" (they look like {kinds[0]})" if kinds else ""
    raise ModelError(
        f"{str(path)!r} holds {len(left)} tensors that a plain SAM has no place for, e.g. "
        f"{left[0]!r}{kind}; without them it would be another model than the one that was trained. "
        "Merge them into SAM's own weights and save that state_dict, or use the program that "
        "trained it."
    )


def _equals(value: Tensor, usual: tuple[float, ...]) -> bool:
    flat = value.detach().cpu().double().reshape(-1)
    return flat.numel() == 3 and bool(
        torch.allclose(flat, torch.tensor(usual, dtype=torch.float64), rtol=1e-3)
    )


def _from_checkpoint(path: Path) -> tuple[Any, str, Preprocessing]:
    from transformers import SamModel

    tensors = read_checkpoint(path)
    sizes = sizes_of(tensors)
    config = config_of(sizes)
    with torch.device("meta"):  # no memory and no time for random weights
        model = SamModel._from_config(config, attn_implementation="sdpa")
    renamed = {k: v.float() for k, v in to_transformers(tensors).items()}
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    missing = sorted(set(wanted) - set(renamed))
    wrong = sorted(k for k in wanted if k in renamed and tuple(renamed[k].shape) != wanted[k])
    if missing or wrong:
        problem = f"lacks {missing[0]!r}" if missing else f"has {wrong[0]!r} in another shape"
        raise ModelError(
            f"{str(path)!r} {problem} ({len(missing)} missing, {len(wrong)} misshapen tensors); "
            "it is incomplete or not a plain SAM ViT."
        )
    # in the order of the file, so that a tensor is named as the file names it
    pairs = zip(tensors.items(), renamed, strict=False)
    refuse_extra({key: value for (key, value), name in pairs if name not in wanted}, path)
    model.load_state_dict({k: renamed[k] for k in wanted}, assign=True)
    return model.eval(), path.stem, Preprocessing(sizes.image, original=True)


def _from_folder(folder: Path, name: str) -> tuple[Any, str, Preprocessing]:
    from safetensors import SafetensorError
    from transformers import SamConfig, SamModel

    config = _json(folder / "config.json", name)
    if config.get("model_type") != "sam":
        raise ModelError(
            f"{name!r} is a {config.get('model_type')!r} model, not SAM ('sam'); "
            "SAM 2 and SAM-HQ are other models."
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{str(folder)!r} holds an adapter (adapter_config.json) beside SAM, which is not "
            "loaded here: merge it into the model (peft: merge_and_unload) and save that."
        )
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{str(folder)!r} has a config.json but no *.safetensors; get the whole model with: "
            f"hf download {name}"
        )
    try:
        loaded: Any = SamModel.from_pretrained(
            folder,
            config=SamConfig.from_dict(config),
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"the weights in {str(folder)!r} cannot be read ({str(error).splitlines()[0]}); "
            f"get them again with: hf download {name} --force-download"
        ) from None
    model, report = loaded
    refuse_extra(dict.fromkeys(report.get("unexpected_keys") or ()), folder)
    missing = sorted(report["missing_keys"])
    if missing or report.get("mismatched_keys"):
        raise ModelError(
            f"the weights in {str(folder)!r} lack {len(missing)} tensors of SAM, e.g. "
            f"{(missing or sorted(map(str, report['mismatched_keys'])))[0]!r}."
        )
    side = int(model.config.vision_config.image_size)
    saved = folder / "preprocessor_config.json"
    given = _json(saved, name) if saved.is_file() else {}
    plain = Preprocessing(side)
    try:
        mean = tuple(float(v) for v in given.get("image_mean", plain.mean))
        std = tuple(float(v) for v in given.get("image_std", plain.std))
    except (TypeError, ValueError):
        mean, std = (), ()
    if len(mean) != 3 or len(std) != 3 or not all(v > 0 for v in std):
        raise ModelError(f"{str(saved)!r} has no usable image_mean and image_std.")
    return model.eval(), name, Preprocessing(side, mean=mean, std=std)
