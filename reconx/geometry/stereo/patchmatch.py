"""PatchMatch: slanted planes spread between pixels and are refined by chance.

After Bleyer et al. 2011 and Galliani et al. 2015. Every pixel of a view moves at once, so that the
work is a few large tensor operations; the views are taken coarse to fine.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from .matching_cost import RADIUS, MatchingCost

REACHES = (1, 2, 4, 8)
"""A pixel hears, in each of four directions, of the best plane among these distances away."""
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthRange:
    """Where the surfaces of one view lie."""

    low: float
    """Least inverse depth."""
    high: float
    """Greatest inverse depth."""


@dataclass(slots=True, kw_only=True)
class PlaneField:
    """The best plane so far of every pixel of one view, and its cost."""

    planes: Float[Tensor, "3 h w"]
    """Inverse depth, its slope in x, its slope in y."""
    cost: Float[Tensor, "h w"]

    def judge(self, cost: MatchingCost, others: list[Tensor] | None) -> None:
        """Find the cost of the planes anew, after the judge or the other views changed."""
        self.cost = cost(self.planes.flatten(1), others).view(self.planes.shape[1:])


def sweep(
    cost: MatchingCost,
    limits: DepthRange,
    guess: Float[Tensor, "h w"],
    steps: int,
) -> PlaneField:
    """Start from the best of evenly spaced fronto-parallel planes and one guess per pixel."""
    flat = torch.zeros(3, *guess.shape, device=guess.device)
    flat[0] = guess
    field = PlaneField(planes=flat, cost=torch.full_like(guess, torch.inf))
    consider(field, flat, cost)
    for inverse_depth in torch.linspace(limits.low, limits.high, steps).tolist():
        candidate = torch.zeros_like(flat)
        candidate[0] = inverse_depth
        consider(field, candidate, cost)
    return field


def spread(
    field: PlaneField, cost: MatchingCost, limits: DepthRange, others: list[Tensor] | None
) -> None:
    """Let every pixel try its neighbours' planes, one direction after the other."""
    for x, y in _DIRECTIONS:
        candidate = field.planes
        least = torch.full_like(field.cost, torch.inf)
        for reach in REACHES:
            dx, dy = reach * x, reach * y
            heard = _shift(field.cost, dx, dy)
            value, slope_x, slope_y = _shift(field.planes, dx, dy)
            moved = torch.stack([value + slope_x * dx + slope_y * dy, slope_x, slope_y])
            better = heard < least
            least = torch.where(better, heard, least)
            candidate = torch.where(better, moved, candidate)
        candidate = torch.cat([candidate[:1].clamp(limits.low, limits.high), candidate[1:]])
        consider(field, candidate, cost, others)


def refine(
    field: PlaneField,
    cost: MatchingCost,
    limits: DepthRange,
    others: list[Tensor] | None,
    sigmas: tuple[float, ...],
    generator: torch.Generator,
) -> None:
    """Let every pixel try random changes of its plane.

    Args:
        field: Changed in place.
        cost: The judge.
        limits: Where inverse depth is kept.
        others: Inverse depths of the sources, for the reprojection term.
        sigmas: Standard deviations of the tries, in multiples of the inverse depth that moves a
            pixel's match by one pixel; slopes vary so that the window's rim moves half as far.
        generator: On the CPU, so that every device draws the same numbers.
    """
    for sigma in sigmas:
        noise = torch.randn(field.planes.shape, generator=generator).to(field.planes.device)
        noise[1:] *= 0.5 / RADIUS
        candidate = field.planes + sigma * noise
        candidate = torch.cat([candidate[:1].clamp(limits.low, limits.high), candidate[1:]])
        consider(field, candidate, cost, others)


def consider(
    field: PlaneField,
    candidate: Float[Tensor, "3 h w"],
    cost: MatchingCost,
    others: list[Tensor] | None = None,
) -> None:
    """Take the candidate wherever it is cheaper."""
    found = cost(candidate.flatten(1), others).view_as(field.cost)
    better = found < field.cost
    field.cost = torch.where(better, found, field.cost)
    field.planes = torch.where(better, candidate, field.planes)


def upsample(field: PlaneField, height: int, width: int) -> PlaneField:
    """A field for a view twice as large: each pixel's plane read off at its four children.

    The costs are yet to be judged.
    """
    planes = field.planes.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    value, slope_x, slope_y = planes
    quarter = torch.tensor([-0.25, 0.25], device=planes.device)
    x, y = quarter.repeat(value.shape[1] // 2), quarter.repeat(value.shape[0] // 2)
    value = value + slope_x * x + slope_y * y[:, None]
    planes = torch.stack([value, slope_x / 2, slope_y / 2])[:, :height, :width]
    return PlaneField(planes=planes, cost=torch.full_like(planes[0], torch.inf))


def _shift(image: Float[Tensor, "*channel h w"], dx: int, dy: int) -> Float[Tensor, "*channel h w"]:
    """What lies dx to the left and dy above; infinite beyond the border."""
    return functional.pad(image, (dx, -dx, dy, -dy), value=torch.inf)
