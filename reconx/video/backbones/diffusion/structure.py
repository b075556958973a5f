"""Structure tokens in a pipeline's denoisers: at which of their calls, and for which rows."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from torch import nn

from ....structure.guidance import guide_denoiser
from ....structure.sites import DIFFUSERS_RULES, find_sites
from ...base import ClipRequest

Passes = Literal["batched", "in_turn"]
"""How a pipeline asks its denoiser with and without the prompt: both as one batch, the prompt
second; or one after the other, the prompt first."""


class StructureInPipeline:
    """A clip's structure; follows the denoising, since a pipeline does not say what it asks."""

    def __init__(self, request: ClipRequest, denoiser: str, passes: Passes) -> None:
        """Begin before the first step.

        Args:
            request: The clip.
            denoiser: The pipeline's component that denoises.
            passes: How it is asked.
        """
        asked = request.guidance.structure.strength > 0
        self._condition = request.structure if asked else None
        self._request, self._denoiser, self._passes = request, denoiser, passes
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
    def inside(self, pipeline: Any) -> Iterator[None]:
        """Guide all that a pipeline's denoisers predict within the block.

        Raises:
            BackboneMismatch: If the adapter was trained for other denoisers.
        """
        condition = self._condition
        if condition is None:
            yield
            return
        device, strength = self._request.device, self._request.guidance.structure.strength
        tokens = replace(condition.tokens, tokens=condition.tokens.tokens.to(device))
        condition = replace(condition, tokens=tokens)
        with ExitStack() as guided:
            condition.adapter.to(device)
            guided.callback(condition.adapter.to, "cpu")
            for denoiser in self._denoisers(pipeline):
                sites = find_sites(denoiser, DIFFUSERS_RULES)
                rows = partial(self._rows, pipeline.scheduler)
                guided.enter_context(
                    guide_denoiser(denoiser, sites, condition, strength=strength, rows=rows)
                )
            yield

    def _denoisers(self, pipeline: Any) -> list[nn.Module]:
        """The network that denoises, or both of a pipeline with one for late steps."""
        names = (self._denoiser, f"{self._denoiser}_2")
        return [part for name in names if (part := getattr(pipeline, name, None)) is not None]

    def _rows(
        self, scheduler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Sequence[bool] | None:
        self._calls += 1
        # Schedulers of higher order make more steps of those that were asked for.
        steps = len(scheduler.timesteps)
        if not self._request.guidance.structure.covers(self._step, steps):
            return None
        if self._passes == "in_turn":
            return (self._calls == 1,)
        latents = args[0] if args else kwargs["hidden_states"]
        return (True,) if len(latents) == 1 else (False, True)
