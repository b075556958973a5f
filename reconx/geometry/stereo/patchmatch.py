"""PatchMatch: slanted planes spread between pixels and are refined by chance.

After Bleyer et al. 2011 and Galliani et al. 2015. All pixels of a view move at once, so that the
work is a few large tensor operations.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from .matching_cost import RADIUS, MatchingCost

REACHES = (1, 2, 4, 8)
"""A pixel hears, in each of four directions, of the best plane among these distances away."""
ALIKE_PX = 1.5
"""Planes this close, in pixels of parallax, belong to one surface and are averaged."""
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))
TRIES_PER_ROUND = len(_DIRECTIONS) + 1
"""Planes that every pixel tries when all spread and average once; `refine` adds one per sigma."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthRange:
    """Where the surfaces of one view lie."""

    low: float
    """Least inverse depth."""
    high: float
    """Greatest inverse depth."""


class PlaneSearch:
    """Improves the planes of one view. A step replaces a pixel's plane only by a cheaper one."""

    def __init__(
        self,
        judge: MatchingCost,
        limits: DepthRange,
        planes: Float[Tensor, "3 h w"],
        others: list[Float[Tensor, "h w"]] | None = None,
    ) -> None:
        """Begin from given planes.

        Args:
            judge: Of this view.
            limits: Inverse depths are kept inside.
            planes: Inverse depth, its slope in x, its slope in y (per pixel).
            others: Inverse depths of the judge's sources; hypotheses must then agree with them.
        """
        self.planes = planes
        self._judge, self._limits, self._others = judge, limits, others
        self._cost = self._judged(planes)
        self.step = 1 / judge.parallax_px((limits.low + limits.high) / 2)
        """The inverse depth that moves a pixel's match by about one pixel."""

    def sweep(self, max_steps: int) -> None:
        """Try fronto-parallel planes through the whole range, about one pixel apart."""
        low, high = self._limits.low, self._limits.high
        steps = max(8, min(max_steps, round((high - low) / self.step)))
        for inverse_depth in torch.linspace(low, high, steps).tolist():
            candidate = torch.zeros_like(self.planes)
            candidate[0] = inverse_depth
            self._consider(candidate)

    def spread(self) -> None:
        """Let every pixel try its neighbours' planes, one direction after the other."""
        for x, y in _DIRECTIONS:
            candidate = self.planes
            least = torch.full_like(self._cost, torch.inf)
            for reach in REACHES:
                heard = _shift(self._cost, reach * x, reach * y)
                better = heard < least
                least = torch.where(better, heard, least)
                candidate = torch.where(
                    better, _extrapolate(self.planes, reach * x, reach * y), candidate
                )
            self._consider(candidate)

    def refine(self, sigmas: tuple[float, ...], generator: torch.Generator) -> None:
        """Let every pixel try random changes of its plane.

        Args:
            sigmas: Standard deviations of the tries in pixels of parallax; slopes vary so that the
                window's rim moves half as far.
            generator: On the CPU, so that every device draws the same numbers.
        """
        for sigma in sigmas:
            noise = torch.randn(self.planes.shape, generator=generator).to(self.planes.device)
            noise[1:] *= 0.5 / RADIUS
            self._consider(self.planes + sigma * self.step * noise)

    def average(self) -> None:
        """Let every pixel try the mean of the 5 x 5 planes around that continue its own.

        Where the photos cannot tell two depths apart, the mean is the better estimate.
        """
        total, count = torch.zeros_like(self.planes), torch.zeros_like(self._cost)
        for dx in range(-2, 3):
            for dy in range(-2, 3):
                heard = _extrapolate(self.planes, dx, dy)
                alike = (heard[0] - self.planes[0]).abs() < ALIKE_PX * self.step
                total += torch.where(alike, heard, 0)
                count += alike
        self._consider(total / count)

    def _consider(self, candidate: Float[Tensor, "3 h w"]) -> None:
        """Take the candidate wherever it is cheaper."""
        value = candidate[:1].clamp(self._limits.low, self._limits.high)
        candidate = torch.cat([value, candidate[1:]])
        cost = self._judged(candidate)
        better = cost < self._cost
        self._cost = torch.where(better, cost, self._cost)
        self.planes = torch.where(better, candidate, self.planes)

    def _judged(self, planes: Float[Tensor, "3 h w"]) -> Float[Tensor, "h w"]:
        return self._judge(planes.flatten(1), self._others).view(planes.shape[1:])


def upsample(planes: Float[Tensor, "3 h w"], height: int, width: int) -> Float[Tensor, "3 H W"]:
    """Planes for a view twice as large: each pixel's plane read off at its four children."""
    value, slope_x, slope_y = planes.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    quarter = torch.tensor([-0.25, 0.25], device=planes.device)
    x, y = quarter.repeat(value.shape[1] // 2), quarter.repeat(value.shape[0] // 2)
    value = value + slope_x * x + slope_y * y[:, None]
    return torch.stack([value, slope_x / 2, slope_y / 2])[:, :height, :width]


def _extrapolate(planes: Float[Tensor, "3 h w"], dx: int, dy: int) -> Float[Tensor, "3 h w"]:
    """The plane of the pixel dx to the left and dy above, carried on to each pixel."""
    value, slope_x, slope_y = _shift(planes, dx, dy)
    return torch.stack([value + slope_x * dx + slope_y * dy, slope_x, slope_y])


def _shift(image: Float[Tensor, "*channel h w"], dx: int, dy: int) -> Float[Tensor, "*channel h w"]:
    """What lies dx to the left and dy above; infinite beyond the border."""
    return functional.pad(image, (dx, -dx, dy, -dy), value=torch.inf)
