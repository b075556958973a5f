"""PatchMatch: slanted planes spread between pixels and are refined by chance.

After Bleyer et al. 2011 and Galliani et al. 2015. All pixels of a view move at once, so that the
work is a few large tensor operations.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from .matcher import (
    ALIKE_PX,
    REACHES,
    SLOPE_SHARE,
    DepthRange,
    Evidence,
    Phase,
    StereoView,
    pixel_step,
    sweep_steps,
)
from .matching_cost import MatchingCost

_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))


class TorchMatcher:
    """Same contract as `Matcher`."""

    def __init__(self, view: StereoView, sources: list[StereoView], limits: DepthRange) -> None:
        """Prepare the windows and the warps.

        Args:
            view: Whose planes are sought.
            sources: Views to match it against.
            limits: Inverse depths are kept inside.
        """
        self._judge = MatchingCost(view, sources)
        self._limits, self._step = limits, pixel_step(view, self._judge.warps, limits)

    def cost(
        self, planes: Float[Tensor, "3 h w"], others: list[Float[Tensor, "h w"]] | None = None
    ) -> Float[Tensor, "h w"]:
        """See `Matcher.cost`."""
        return self._judge(planes.flatten(1), others).view(planes.shape[1:])

    def improve(
        self,
        planes: Float[Tensor, "3 h w"],
        others: list[Float[Tensor, "h w"]] | None,
        phase: Phase,
        seed: int,
    ) -> Float[Tensor, "3 h w"]:
        """See `Matcher.improve`."""
        generator = torch.Generator().manual_seed(seed)
        search = PlaneSearch(self._judge, self._limits, self._step, planes, others)
        if phase.sweep:
            search.sweep(sweep_steps(self._limits, self._step, phase.sweep))
        for _ in range(phase.rounds):
            search.spread()
            search.average()
            search.refine(phase.sigmas, generator)
        return search.planes

    def inspect(
        self, planes: Float[Tensor, "3 h w"], others: list[Float[Tensor, "h w"]]
    ) -> Evidence:
        """See `Matcher.inspect`."""
        flat, shape = planes.flatten(1), (-1, *planes.shape[1:])
        correlation = self._judge.correlations(flat)
        miss, difference = self._judge.round_trips(flat[0], others)
        return Evidence(
            correlation=correlation.view(shape),
            margin=self._judge.margins(flat, correlation).view(shape),
            miss=miss.view(shape),
            difference=difference.view(shape),
        )


class PlaneSearch:
    """Improves the planes of one view. A step replaces a pixel's plane only by a cheaper one."""

    def __init__(
        self,
        judge: MatchingCost,
        limits: DepthRange,
        step: float,
        planes: Float[Tensor, "3 h w"],
        others: list[Float[Tensor, "h w"]] | None = None,
    ) -> None:
        """Begin from given planes.

        Args:
            judge: Of this view.
            limits: Inverse depths are kept inside.
            step: The inverse depth that moves a pixel's match by about one pixel.
            planes: Inverse depth, its slope in x, its slope in y (per pixel).
            others: Inverse depths of the judge's sources; hypotheses must then agree with them.
        """
        self.planes = planes
        self._judge, self._limits, self._step, self._others = judge, limits, step, others
        self._cost = self._judged(planes)

    def sweep(self, steps: int) -> None:
        """Try planes of one depth through the whole range."""
        for inverse_depth in torch.linspace(self._limits.low, self._limits.high, steps).tolist():
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
            noise[1:] *= SLOPE_SHARE
            self._consider(self.planes + sigma * self._step * noise)

    def average(self) -> None:
        """Let every pixel try the mean of the 5 x 5 planes around that continue its own.

        Where the photos cannot tell two depths apart, the mean is the better estimate.
        """
        total, count = torch.zeros_like(self.planes), torch.zeros_like(self._cost)
        for dx in range(-2, 3):
            for dy in range(-2, 3):
                heard = _extrapolate(self.planes, dx, dy)
                alike = (heard[0] - self.planes[0]).abs() < ALIKE_PX * self._step
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


def _extrapolate(planes: Float[Tensor, "3 h w"], dx: int, dy: int) -> Float[Tensor, "3 h w"]:
    """The plane of the pixel dx to the left and dy above, carried on to each pixel."""
    value, slope_x, slope_y = _shift(planes, dx, dy)
    return torch.stack([value + slope_x * dx + slope_y * dy, slope_x, slope_y])


def _shift(image: Float[Tensor, "*channel h w"], dx: int, dy: int) -> Float[Tensor, "*channel h w"]:
    """What lies dx to the left and dy above; infinite beyond the border."""
    return functional.pad(image, (dx, -dx, dy, -dy), value=torch.inf)
