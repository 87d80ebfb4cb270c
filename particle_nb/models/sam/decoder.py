"""SAM's mask decoder, arranged so that each image pays once for what its prompts share.

The mathematics is that of ``transformers.SamModel``; the order of the sums differs:

- the image side of the first two-way layer is the same for every prompt: made once;
- with 7 tokens and 8 heads, an attention between tokens and 4096 pixels is cheaper when the
  projections are applied to the tokens: q.(W k) = (W'q).k and sum a.(W v) = W.(sum a.v);
- the predicted IoU needs the tokens only, so masks are upscaled for the prompts that pass it;
- upscaling runs channels-last, as two matrix products;
- large temporaries live in a workspace: their page faults cost as much as the arithmetic.

Logits differ from the reference by rounding (1e-5 of their size); see tests/test_sam.py. Against
double precision they are as near as the reference's own (tests/parity), so a pixel whose logit
rounds to 0 may fall on either side, as it does in the reference with another number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class _Attention:
    """The weights of one attention, cut by heads: projections as (heads, d, channels)."""

    def __init__(self, module: Any) -> None:
        self.heads = int(module.num_attention_heads)
        self.scale = float(module.scaling)
        self.q, self.k, self.v, self.o = (
            module.q_proj, module.k_proj, module.v_proj, module.out_proj
        )  # fmt: skip
        inner, channels = self.q.weight.shape
        self.depth = inner // self.heads
        shape = (self.heads, self.depth, channels)
        self.q_heads = self.q.weight.reshape(shape)
        self.k_heads = self.k.weight.reshape(shape)
        self.v_heads = self.v.weight.reshape(shape)
        self.o_heads = self.o.weight.t().reshape(shape)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, inner) -> (B, heads, N, d)."""
        return x.unflatten(-1, (self.heads, self.depth)).transpose(1, 2)

    def join(self, x: Tensor) -> Tensor:
        """(B, heads, N, d) -> (B, N, inner)."""
        return x.transpose(1, 2).flatten(2)

    def image_queries(self, x: Tensor, bias: bool = True) -> Tensor:
        """(P, channels) -> (heads, d, P), queries of the image side."""
        y = torch.nn.functional.linear(x, self.q.weight, self.q.bias if bias else None)
        return y.t().reshape(self.heads, self.depth, -1).contiguous()

    def image_keys(self, x: Tensor) -> Tensor:
        """(P, channels) -> (heads, d, P); the bias drops out of a softmax over pixels."""
        y = torch.nn.functional.linear(x, self.k.weight)
        return y.t().reshape(self.heads, self.depth, -1).contiguous()

    def small(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Ordinary attention among tokens, (B, T, channels)."""
        q, k, v = self.split(self.q(query)), self.split(self.k(key)), self.split(self.v(value))
        weights = torch.softmax((q * self.scale) @ k.transpose(-1, -2), dim=-1)
        return self.o(self.join(weights @ v))


class Workspace:
    """Large buffers by name, made once and grown when needed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held: dict[str, Tensor] = {}

    def get(self, name: str, *shape: int) -> Tensor:
        """Return a float32 buffer of this shape; what was in it is lost."""
        size = 1
        for n in shape:
            size *= n
        held = self._held.get(name)
        if held is None or held.numel() < size:
            held = self._held[name] = torch.empty(size, device=self._device)
        return held[:size].view(shape)


class FastDecoder:
    """The prompt and mask decoder of a ``transformers.SamModel``, float32, for inference.

    Parameters
    ----------
    model : transformers.SamModel
        In eval mode; its weights are shared, not copied.
    """

    def __init__(self, model: Any) -> None:
        decoder = model.mask_decoder
        self.prompts = model.prompt_encoder
        self.decoder = decoder
        self.grid = int(model.config.prompt_encoder_config.image_embedding_size)
        self.device = decoder.iou_token.weight.device
        self.mask_tokens = int(decoder.num_mask_tokens)
        with torch.inference_mode():
            self.layers = list(decoder.transformer.layers)
            self.to_image = [_Attention(x.cross_attn_token_to_image) for x in self.layers]
            self.to_tokens = [_Attention(x.cross_attn_image_to_token) for x in self.layers]
            self.among = [_Attention(x.self_attn) for x in self.layers]
            self.final = _Attention(decoder.transformer.final_attn_token_to_image)
            position = model.get_image_wide_positional_embeddings()[0].flatten(1).t().contiguous()
            self.position = position  # (P, channels)
            self.position_keys = [a.image_keys(position) for a in [*self.to_image, self.final]]
            self.position_queries = [a.image_queries(position) for a in self.to_tokens]
            self.output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
            one, two = decoder.upscale_conv1, decoder.upscale_conv2
            # (in, out, 2, 2) -> (in, 2*2*out): one matrix product per transposed convolution
            self.up1 = one.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
            self.up2 = two.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
            self.bias1, self.bias2 = one.bias.repeat(4), two.bias.repeat(4)

    @property
    def low(self) -> int:
        """Side of the mask logits in pixels."""
        return 4 * self.grid

    def no_mask(self) -> Tensor:
        """The dense prompt that stands for "no mask given", (1, channels)."""
        return self.prompts.no_mask_embed.weight

    def dense(self, mask_logits: Tensor) -> Tensor:
        """Embed a mask prompt, logits (low, low) -> (P, channels)."""
        return self.prompts.mask_embed(mask_logits[None, None])[0].flatten(1).t()

    def share(self, image: Tensor, dense: Tensor) -> dict[str, Tensor]:
        """Prepare what every prompt on an image shares.

        Parameters
        ----------
        image : float32 (P, channels)
            The image embedding, pixels first.
        dense : float32 (1 or P, channels)
            The mask prompt.
        """
        keys = (image + dense).contiguous()
        placed = keys + self.position
        attention = self.to_image[0]
        values = attention.v(keys).view(-1, attention.heads, attention.depth).transpose(0, 1)
        return {
            "keys": keys,
            "first_keys": attention.image_keys(placed),
            "first_values": values.contiguous(),
            "first_queries": self.to_tokens[0].image_queries(placed),
        }

    def coordinates(self, places: np.ndarray) -> Tensor:
        """Put coordinates (..., 2) in px on the device, float64 where it has it."""
        kind = torch.float32 if self.device.type == "mps" else torch.float64
        return torch.as_tensor(places, dtype=kind, device=self.device)

    def sparse(self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None) -> Tensor:
        """Embed points (B, n, 2), labels (B, n) and boxes (B, 4) of the padded square."""
        tokens, _ = self.prompts(
            None if points is None else points[None],
            None if labels is None else labels[None],
            None if boxes is None else boxes[None],
            None,
        )
        return tokens[0].to(self.output_tokens.dtype)

    def tokens(
        self, shared: Mapping[str, Tensor], sparse: Tensor, space: Workspace, chunk: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the two-way transformer for B prompts.

        Returns
        -------
        predicted_iou : (B, mask tokens)
        mask_tokens : (B, mask tokens, channels)
        keys : (B, P, channels)
            The image side after the transformer; lives in the workspace until the next call.
        """
        batch = len(sparse)
        points = torch.cat([self.output_tokens.expand(batch, -1, -1), sparse], dim=1)
        queries = points
        pixels, channels = shared["keys"].shape
        keys = space.get("keys", batch, pixels, channels)
        for index, layer in enumerate(self.layers):
            among = self.among[index]
            if index == 0:
                queries = among.small(queries, queries, queries)
            else:
                placed = queries + points
                queries = queries + among.small(placed, placed, queries)
            queries = layer.layer_norm1(queries)
            if index == 0:
                looked = self._attend_to_shared_image(shared, queries + points, space)
            else:
                looked = self._attend_to_image(index, keys, queries + points, space, chunk)
            queries = layer.layer_norm2(queries + looked)
            queries = layer.layer_norm3(queries + layer.mlp(queries))
            self._attend_to_tokens(index, shared, keys, queries, queries + points, space, chunk)
        queries = queries + self._attend_to_image(
            len(self.layers), keys, queries + points, space, chunk
        )
        queries = self.decoder.transformer.layer_norm_final_attn(queries)
        masks = queries[:, 1 : 1 + self.mask_tokens]
        return self.decoder.iou_prediction_head(queries[:, 0]), masks, keys

    def _attend_to_shared_image(
        self, shared: Mapping[str, Tensor], placed: Tensor, space: Workspace
    ) -> Tensor:
        """Tokens attend to an image side that all prompts share, (B, T, channels)."""
        attention = self.to_image[0]
        batch, count, _ = placed.shape
        query = attention.q(placed).view(batch * count, attention.heads, -1).transpose(0, 1)
        keys = shared["first_keys"]
        scores = space.get("scores", attention.heads, batch * count, keys.shape[-1])
        weights = space.get("weights", *scores.shape)
        torch.bmm(query * attention.scale, keys, out=scores)
        torch.softmax(scores, dim=-1, out=weights)
        seen = torch.bmm(weights, shared["first_values"])
        return attention.o(seen.transpose(0, 1).reshape(batch, count, -1))

    def _attend_to_image(
        self, index: int, keys: Tensor, placed: Tensor, space: Workspace, chunk: int
    ) -> Tensor:
        """Tokens attend to their own image side, (B, T, channels)."""
        attention = self.final if index == len(self.layers) else self.to_image[index]
        position = self.position_keys[index]
        batch, count, channels = placed.shape
        heads = attention.heads
        query = attention.split(attention.q(placed)) * attention.scale
        moved = (query @ attention.k_heads).view(batch, heads * count, channels)
        seen = torch.empty_like(moved)
        for start in range(0, batch, chunk):
            part = slice(start, min(start + chunk, batch))
            scores, weights = self._attention_scores(
                query[part], position, moved[part], keys[part], space
            )
            torch.softmax(scores, dim=-1, out=weights)
            torch.bmm(weights, keys[part], out=seen[part])
        seen = seen.view(batch, heads, count, channels) @ attention.v_heads.transpose(1, 2)
        return attention.o(attention.join(seen) + attention.v.bias)

    def _attend_to_tokens(
        self,
        index: int,
        shared: Mapping[str, Tensor],
        keys: Tensor,
        queries: Tensor,
        placed: Tensor,
        space: Workspace,
        chunk: int,
    ) -> None:
        """The image side attends to the tokens and is normalised: `keys` changes in place."""
        attention, layer = self.to_tokens[index], self.layers[index]
        batch, count, channels = placed.shape
        heads = attention.heads
        key = attention.split(attention.k(placed)) * attention.scale
        value = attention.split(attention.v(queries)) @ attention.o_heads
        # the weights of each head sum to 1: the bias rides on the values
        value = (value + attention.o.bias / heads).view(batch, heads * count, channels)
        moved = (key @ attention.q_heads).view(batch, heads * count, channels)
        position = shared["first_queries"] if index == 0 else self.position_queries[index]
        norm = layer.layer_norm4
        for start in range(0, batch, chunk):
            part = slice(start, min(start + chunk, batch))
            size = part.stop - part.start
            scores, weights = self._attention_scores(
                key[part], position, None if index == 0 else moved[part], keys[part], space
            )
            shape = (size, heads, count, scores.shape[-1])
            torch.softmax(scores.view(shape), dim=2, out=weights.view(shape))
            before = shared["keys"].expand(size, -1, -1) if index == 0 else keys[part]
            total = space.get("total", *keys[part].shape)
            torch.baddbmm(before, weights.transpose(1, 2), value[part], out=total)
            _layer_norm(total, norm, keys[part], space)

    @staticmethod
    def _attention_scores(
        query: Tensor, position: Tensor, moved: Tensor | None, keys: Tensor, space: Workspace
    ) -> tuple[Tensor, Tensor]:
        """Attention scores (b, heads*T, P) of tokens with pixels, and room for the weights."""
        size, heads, count, _ = query.shape
        pixels = position.shape[-1]
        scores = space.get("scores", size, heads * count, pixels)
        weights = space.get("weights", size, heads * count, pixels)
        if size == 1:
            torch.bmm(query[0], position, out=scores.view(heads, count, pixels))
        else:
            scores.copy_((query @ position).view_as(scores))
        if moved is not None:
            torch.baddbmm(scores, moved, keys.transpose(1, 2), out=scores)
        return scores, weights

    def masks(self, mask_tokens: Tensor, keys: Tensor, space: Workspace, chunk: int = 1) -> Tensor:
        """Return logits (M, n, low, low) of M prompts x n mask tokens.

        Parameters
        ----------
        mask_tokens : (M, mask tokens, channels)
        keys : (M, P, channels)
        """
        decoder, grid = self.decoder, self.grid
        first = self.mask_tokens - int(decoder.num_multimask_outputs)
        heads = decoder.output_hypernetworks_mlps
        wanted = range(first, self.mask_tokens)
        hyper = torch.stack([heads[i](mask_tokens[:, i]) for i in wanted], dim=1)
        pixels = grid * grid
        out = torch.empty(len(keys), len(wanted), self.low, self.low, device=keys.device)
        inner, outer = self.up1.shape[1] // 4, self.up2.shape[1] // 4
        for start in range(0, len(keys), chunk):
            part = slice(start, min(start + chunk, len(keys)))
            size = part.stop - part.start
            one = space.get("up1", size * pixels, 4 * inner)
            torch.addmm(self.bias1, keys[part].flatten(0, 1), self.up1, out=one)
            normed = space.get("up1n", size * pixels * 4, inner)
            _layer_norm(one.view_as(normed), decoder.upscale_layer_norm, normed, space)
            torch.ops.aten.gelu.out(normed, out=normed)
            two = space.get("up2", size * pixels * 4, 4 * outer)
            torch.addmm(self.bias2, normed, self.up2, out=two)
            torch.ops.aten.gelu.out(two, out=two)
            flat = torch.bmm(hyper[part], two.view(size, pixels * 16, outer).transpose(1, 2))
            # y, x, dy1, dx1, dy2, dx2 -> y dy1 dy2, x dx1 dx2
            flat = flat.view(size, len(wanted), grid, grid, 2, 2, 2, 2)
            out[part] = flat.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(out[part].shape)
        return out


def _layer_norm(x: Tensor, norm: Any, out: Tensor, space: Workspace) -> None:
    """Layer normalisation over the last axis into a given buffer."""
    rows = (*x.shape[:-1], 1)
    mean, rstd = space.get("mean", *rows), space.get("rstd", *rows)
    torch.ops.aten.native_layer_norm.out(
        x, norm.normalized_shape, norm.weight, norm.bias, norm.eps,
        out0=out, out1=mean, out2=rstd,
    )  # fmt: skip
