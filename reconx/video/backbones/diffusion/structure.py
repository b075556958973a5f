"""Structure tokens in a pipeline's denoisers: at which of their calls, and for which rows."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import nn

from ....structure.guidance import guide_denoiser
from ....structure.sites import DIFFUSERS_RULES, find_sites
from ...base import ClipRequest

Passes = Literal["batched", "in_turn"]
"""How a pipeline asks its denoiser with and without the prompt: both as one batch, the prompt
second; or one after the other, the prompt first."""


class StructureInPipeline:
    """A clip's structure; follows the denoising, since a pipeline does not say what it asks."""

    def __init__(self, request: ClipRequest, passes: Passes) -> None:
        """Begin before the first step."""
        asked = request.guidance.structure.strength > 0
        self._condition = request.structure if asked else None
        self._request, self._passes = request, passes
        self._step = self._calls = 0

    @property
    def megabytes(self) -> float:
        """What its weights take on the device, 1e6 bytes."""
        if self._condition is None:
            return 0.0
        weights = self._condition.adapter.parameters()
        return sum(weight.numel() * weight.element_size() for weight in weights) / 1e6

    def after_step(self, step: int) -> None:
        """Told after each denoising step, counted from 0."""
        self._step, self._calls = step + 1, 0

    @contextmanager
    def inside(self, denoisers: Sequence[nn.Module]) -> Iterator[None]:
        """Guide all that these denoisers predict within the block.

        Raises:
            BackboneMismatch: If the adapter was trained for other denoisers.
        """
        condition = self._condition
        if condition is None:
            yield
            return
        with ExitStack() as guided:
            adapter = condition.adapter.to(torch.device(self._request.device))
            guided.callback(adapter.to, "cpu")
            for denoiser in denoisers:
                sites = find_sites(denoiser, DIFFUSERS_RULES)
                adapter.check_fit(sites)
                strength = self._request.guidance.structure.strength
                guided.enter_context(
                    guide_denoiser(denoiser, sites, condition, strength=strength, rows=self._rows)
                )
            yield

    def _rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[bool] | None:
        steps = self._request.steps
        assert steps is not None, "the spec has default steps"
        self._calls += 1
        if not self._request.guidance.structure.covers(self._step, steps):
            return None
        if self._passes == "in_turn":
            return (self._calls == 1,)
        latents = args[0] if args else kwargs["hidden_states"]
        return (True,) if len(latents) == 1 else (False, True)
