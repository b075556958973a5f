"""When a path is where: easing, and the frames at which captured cameras are reached."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from .options import PathOptions


def ease(time: Float[Tensor, " frame"], easing: str) -> Float[Tensor, " frame"]:
    """Share of the way at each share of the time, both in [0, 1]."""
    return time if easing == "linear" else time.square() * (3 - 2 * time)


def place_knots(legs: list[float], options: PathOptions) -> list[int]:
    """The frame at which each stop is reached, nearest to an even pace.

    At least one frame lies between two stops while there are enough frames.

    Args:
        legs: Distance from each stop to the next; in a loop the last leads back to the first.
        options: At least as many frames as stops.

    Returns:
        One frame per stop, rising from 0 to the last; in a loop the return to the first stop
        falls on frame `options.frames`, which is not part of the path.
    """
    end = options.frames if options.loop else options.frames - 1
    gap = min(2, end // len(legs))
    way = torch.tensor([0.0, *legs], dtype=torch.float64).cumsum(0)
    # Cameras that all stand at one place are reached in even steps.
    way = way / way[-1] if way[-1] > 0 else torch.linspace(0, 1, len(way), dtype=torch.float64)
    pace = ease(torch.linspace(0, 1, end + 1, dtype=torch.float64), options.easing)
    knots = [int((pace - share).abs().argmin()) for share in way]
    knots[0] = 0
    for before, after in itertools.pairwise(range(len(knots))):
        knots[after] = max(knots[after], knots[before] + gap)
    knots[-1] = end
    for before, after in reversed(list(itertools.pairwise(range(len(knots))))):
        knots[before] = min(knots[before], knots[after] - gap)
    return knots
