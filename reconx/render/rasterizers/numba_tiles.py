"""Rasterizer for the CPU: numba kernels with hand-written gradients, float32.

Owns the autograd function; the kernels lie in `numba_projection.py` and
`numba_blending.py`. They are compiled on the first call and cached on disk.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import InputError
from . import numba_binning, numba_blending, numba_projection
from .base import Rasterized
from .compose import CLAMP_MARGIN, check_scene


class NumbaTileRasterizer:
    """The `Rasterizer` protocol for float32 tensors on the CPU; deterministic."""

    def __call__(
        self,
        means: Float[Tensor, "n 3"],
        quats: Float[Tensor, "n 4"],
        scales: Float[Tensor, "n 3"],
        opacities: Float[Tensor, " n"],
        colors: Float[Tensor, "view n 3"],
        viewmats: Float[Tensor, "view 4 4"],
        Ks: Float[Tensor, "view 3 3"],
        width: int,
        height: int,
        *,
        near: float = 0.01,
        eps2d: float = 0.3,
        antialiased: bool = False,
        background: Float[Tensor, "3"] | None = None,
    ) -> Rasterized:
        """Rasterize; see `Rasterizer`.

        Raises:
            InputError: If the tensors do not fit together or are not float32 on the CPU.
        """
        check_scene(
            means,
            quats,
            scales,
            opacities,
            colors,
            viewmats,
            Ks,
            width,
            height,
            eps2d,
            background,
        )
        if means.dtype != torch.float32 or means.device.type != "cpu":
            raise InputError(
                f"The numba rasterizer was given {means.dtype} tensors on {means.device}; it takes "
                "float32 on the CPU. Convert them, or choose the torch rasterizer."
            )
        frame = _Frame(width=width, height=height, near=near, eps2d=eps2d, antialiased=antialiased)
        if background is None:
            background = means.new_zeros(3)
        drawn = [
            _Draw.apply(means, quats, scales, opacities, *view, background, frame)
            for view in zip(colors, viewmats, Ks, strict=True)
        ]
        if not drawn:
            flat = means.new_zeros(0, height, width)
            return Rasterized(colour=flat[..., None].expand(-1, -1, -1, 3), alpha=flat, depth=flat)
        if len(drawn) == 1:  # As in every step of a fit: nothing to copy.
            return Rasterized(*(picture[None] for picture in drawn[0]))
        return Rasterized(*(torch.stack(pictures) for pictures in zip(*drawn, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What a view's pictures share; numbers as the kernels take them."""

    width: int
    height: int
    near: float
    eps2d: float
    antialiased: bool

    def limits(self, K: np.ndarray) -> np.ndarray:
        """Least and greatest x / z, then y / z, at which the Jacobian is taken."""
        size = np.array([self.width, self.height], np.float32)
        focal, centre = np.diag(K)[:2], K[:2, 2]
        low = (-centre - CLAMP_MARGIN * size) / focal
        high = (size - centre + CLAMP_MARGIN * size) / focal
        return np.stack([low, high], axis=1).ravel().astype(np.float32)


class _Draw(torch.autograd.Function):
    """One view's colour, alpha and depth."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        *tensors, frame = inputs
        means, quats, scales, opacities, colors, viewmat, K, background = map(_array, tensors)
        limits, size = frame.limits(K), np.array([frame.width, frame.height], np.float32)
        columns, rows = (-(-side // numba_binning.TILE) for side in (frame.width, frame.height))
        records, boxes = numba_projection.project(
            means,
            quats,
            scales,
            opacities,
            colors,
            viewmat,
            K,
            limits,
            size,
            np.float32(frame.near),
            np.float32(frame.eps2d),
            frame.antialiased,
        )
        order = numba_binning.sort_by_depth(records[:, numba_projection.Z], boxes)
        pairs, starts, slots = numba_binning.bin_to_tiles(boxes, order, columns, rows)
        *pictures, reached, ends = numba_blending.blend(
            records.reshape(-1), boxes, pairs, starts, frame.width, frame.height, background
        )
        ctx.save_for_backward(*tensors)
        ctx.drawn = (frame, limits, records, slots, pairs, starts, reached, ends, pictures)
        return tuple(map(torch.from_numpy, pictures))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_pictures: Tensor
    ) -> tuple[Tensor | None, ...]:
        frame, limits, records, slots, pairs, starts, reached, ends, pictures = ctx.drawn
        means, quats, scales, opacities, _, viewmat, K, background = map(_array, ctx.saved_tensors)
        grad_colour, grad_alpha, grad_depth = map(_array, grad_pictures)
        grad_pairs = numba_blending.blend_backward(
            records.reshape(-1),
            pairs,
            starts,
            reached,
            ends,
            background,
            *pictures,
            grad_colour,
            grad_alpha,
            grad_depth,
        )
        *grads, per_block = numba_projection.project_backward(
            means,
            quats,
            scales,
            opacities,
            viewmat,
            K,
            limits,
            np.float32(frame.eps2d),
            frame.antialiased,
            records,
            slots,
            grad_pairs,
        )
        camera = torch.from_numpy(per_block.sum(axis=0)).float()
        grad_viewmat, grad_K = torch.zeros(4, 4), torch.zeros(3, 3)
        grad_viewmat[:3] = camera[:12].view(3, 4)
        grad_K[0, 0], grad_K[1, 1], grad_K[0, 2], grad_K[1, 2] = camera[12:]
        grad_background = np.einsum("hwc,hw->c", grad_colour, 1 - pictures[1])
        return (
            *map(torch.from_numpy, grads),
            grad_viewmat,
            grad_K,
            torch.from_numpy(grad_background),
            None,
        )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
