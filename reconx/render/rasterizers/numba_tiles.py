"""Rasterizer for the CPU: numba kernels with hand-written gradients, float32.

Owns the autograd function and the lock; the kernels lie in `numba_projection.py` and
`numba_blending.py`. They are compiled on the first call and cached on disk.
"""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import InputError
from . import numba_blending, numba_projection
from .base import Rasterized
from .compose import CLAMP_MARGIN, check_scene, finish_pictures

_LOCK = threading.Lock()
"""numba's own thread pool ends the process when two threads start parallel kernels at once."""


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
        pictures = [means.new_zeros(0, height, width, 5)]
        for colour, viewmat, K in zip(colors, viewmats, Ks, strict=True):
            picture: Tensor = _Draw.apply(  # pyright: ignore[reportAssignmentType]
                means, quats, scales, opacities, colour, viewmat, K, frame
            )
            pictures.append(picture[None])
        return finish_pictures(torch.cat(pictures), background)


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
    """One view: per pixel the sums of weight times (r, g, b, z, 1)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, frame = inputs
        means, quats, scales, opacities, colors, viewmat, K = map(_array, tensors)
        limits, size = frame.limits(K), np.array([frame.width, frame.height], np.float32)
        columns = -(-frame.width // numba_blending.TILE)
        rows = -(-frame.height // numba_blending.TILE)
        with _LOCK:
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
            order = numba_blending.sort_by_depth(records[:, numba_projection.Z], boxes)
            pairs, starts, slots = numba_blending.bin_to_tiles(boxes, order, columns, rows)
            blended = numba_blending.blend(records, boxes, pairs, starts, frame.width, frame.height)
        ctx.save_for_backward(*tensors)
        ctx.drawn = (frame, limits, records, boxes, pairs, starts, slots, blended)
        return torch.from_numpy(blended)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        frame, limits, records, boxes, pairs, starts, slots, blended = ctx.drawn
        means, quats, scales, opacities, _, viewmat, K = map(_array, ctx.saved_tensors)
        with _LOCK:
            grad_pairs = numba_blending.blend_backward(
                records, boxes, pairs, starts, blended, _array(grad)
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
        return (*map(torch.from_numpy, grads), grad_viewmat, grad_K, None)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
