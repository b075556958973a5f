"""The matcher for CPUs: hands a view's arrays to the compiled kernels."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from . import numba_kernels as kernels
from .matcher import (
    DepthRange,
    Evidence,
    Phase,
    StereoView,
    Warp,
    make_warp,
    pixel_step,
    sweep_steps,
)


class NumbaMatcher:
    """Same contract as `Matcher`; uses numba's threads, whose number changes no result."""

    def __init__(self, view: StereoView, sources: list[StereoView], limits: DepthRange) -> None:
        """Prepare the warps.

        Args:
            view: Whose planes are sought.
            sources: Views to match it against, of its size.
            limits: Inverse depths are kept inside.
        """
        warps = [make_warp(view, source) for source in sources]
        backs = [make_warp(source, view) for source in sources]
        self._limits, self._step = limits, pixel_step(view, warps, limits)
        self._views = (
            view.grey.contiguous().numpy(),
            view.image.contiguous().numpy(),
            torch.stack([source.grey.flatten() for source in sources]).numpy(),
            np.stack([_as_matrix(warp) for warp in warps]),
            np.stack([_as_matrix(back) for back in backs]),
        )

    def cost(
        self, planes: Float[Tensor, "3 h w"], others: list[Float[Tensor, "h w"]] | None = None
    ) -> Float[Tensor, "h w"]:
        """See `Matcher.cost`."""
        _, cost = self._begin(planes, others, 0)
        return torch.from_numpy(cost)

    def improve(
        self,
        planes: Float[Tensor, "3 h w"],
        others: list[Float[Tensor, "h w"]] | None,
        phase: Phase,
        seed: int,
    ) -> Float[Tensor, "3 h w"]:
        """See `Matcher.improve`."""
        steps = sweep_steps(self._limits, self._step, phase.sweep) if phase.sweep else 0
        found, cost = self._begin(planes, others, steps)
        low, high, step = np.array([self._limits.low, self._limits.high, self._step], np.float32)
        sigmas = np.array(phase.sigmas, np.float32)
        task = self._task(others)
        seeds = np.random.default_rng(seed).integers(2**32, size=(phase.rounds, 2), dtype=np.uint32)
        for pair in seeds:
            for colour in range(2):
                kernels.visit(task, found, cost, low, high, step, sigmas, pair[colour], colour)
        return torch.from_numpy(found).permute(2, 0, 1).contiguous()

    def inspect(
        self, planes: Float[Tensor, "3 h w"], others: list[Float[Tensor, "h w"]]
    ) -> Evidence:
        """See `Matcher.inspect`."""
        evidence = np.empty((4, len(others), *planes.shape[1:]), np.float32)
        kernels.inspect(self._task(others), _as_pixels(planes), evidence)
        correlation, margin, miss, difference = torch.from_numpy(evidence)
        return Evidence(correlation=correlation, margin=margin, miss=miss, difference=difference)

    def _begin(
        self,
        planes: Float[Tensor, "3 h w"],
        others: list[Float[Tensor, "h w"]] | None,
        steps: int,
    ) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]:
        """The planes after a sweep of so many steps, as pixels, and their costs."""
        low, high = np.array([self._limits.low, self._limits.high], np.float32)
        pixels = _as_pixels(planes)
        cost = np.empty(pixels.shape[:2], np.float32)
        kernels.sweep(self._task(others), pixels, cost, low, high, steps)
        return pixels, cost

    def _task(self, others: list[Float[Tensor, "h w"]] | None) -> tuple[np.ndarray, ...]:
        if others is None:
            return (*self._views, np.empty((0, 0, 0), np.float32))
        return (*self._views, torch.stack(others).numpy())


def _as_pixels(planes: Float[Tensor, "3 h w"]) -> Float[np.ndarray, "h w 3"]:
    """A copy, a pixel's numbers side by side."""
    return planes.permute(1, 2, 0).contiguous().numpy().copy()


def _as_matrix(warp: Warp) -> Float[np.ndarray, "3 4"]:
    return torch.cat([warp.matrix, warp.shift[:, None]], dim=1).numpy()
