"""A clip's denoising, parted where another model or other conditions take over.

Like KSampler (Advanced) nodes behind each other: each leg hands its noisy latents to the next. So
conditions that a model takes as a whole clip still have a share of the steps, exact to the step.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from ..reconx.video.base import ClipRequest
from .conditions import HostModels, drop_unasked
from .families import Family


class Leg(NamedTuple):
    """Steps that one model takes under the same conditions."""

    first: int
    """The step that it begins with, counted from 0."""
    last: int
    """The step before which it ends."""
    models: HostModels
    """With the expert at work as `model`."""
    request: ClipRequest
    """Without conditions that do not guide meanwhile."""


def plan_legs(
    family: Family, models: HostModels, request: ClipRequest, sigmas: Sequence[float]
) -> list[Leg]:
    """Part the steps of a clip.

    Args:
        family: Of the models.
        models: What the user has connected.
        request: The clip.
        sigmas: Noise level before each step, and after the last.
    """
    steps = len(sigmas) - 1
    renders = request.guidance.renders
    # Blended renders are held by the sampler's wrapper, step by step.
    parted = family.renders == "native" and "render_share" in family.dials

    def at_work(step: int) -> tuple[bool, bool]:
        low = models.low_noise_model is not None and sigmas[step] < (family.boundary or 0)
        return low, not parted or renders.covers(step, steps)

    legs = []
    for (low, guided), run in groupby(range(steps), key=at_work):
        first, *rest = run
        asked = request if guided else _without_render_guide(request)
        expert = models._replace(model=models.low_noise_model) if low else models
        legs.append(Leg(first, first + len(rest) + 1, expert, drop_unasked(asked)))
    return legs


def _without_render_guide(request: ClipRequest) -> ClipRequest:
    off = replace(request.guidance.renders, strength=0)
    return replace(request, guidance=replace(request.guidance, renders=off))
