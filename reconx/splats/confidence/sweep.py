"""Depth of a frame's pixels from what its neighbours show, where they tell it.

A hole of the photos' geometry has no depth of its own, and one that is continued from around it
misplaces whatever the frames teach there.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...types import Cameras
from .planes import look_up, places_on_plane, plane_maps
from .windows import RADIUS, agreement_of, expected_error, mean_error, window_mean

NOISE, TEXTURE_NOISE = 0.03, 0.2
"""Deviation of colour between two frames at the right depth, and per deviation of the texture."""
SMOOTH = 2
"""Pixels to each side over which agreement at one depth is averaged."""
FULL_VOTE, LEAST_VOTE = 0.25, 0.04
"""Weight of a neighbour's pixel from which it is a full witness, and what the best two must
have on average."""
PROVEN = 0.35
"""Agreement of the two best neighbours from which a depth is taken."""
ALSO_GOOD, MOST_GOOD = 0.8, 0.5
"""Where so large a share of the depths at which neighbours see the place agrees nearly as well as
the best, texture tells nothing."""

PLATEAU = 4
"""Steps of depth to each side of the best one that may mean the same surface."""


def sweep_depth(
    frame: Float[Tensor, "3 h w"],
    wanted: Bool[Tensor, "h w"],
    camera: Cameras,
    planes: Float[Tensor, "n 4 h w"],
    cameras: Cameras,
    inverse_depths: list[float],
) -> Float[Tensor, "h w"]:
    """The depth at which neighbours agree best with a frame; NaN where they do not tell.

    Args:
        frame: Its colours in [0, 1].
        wanted: Where depth is looked for: at least one pixel; elsewhere it is NaN.
        camera: Of the frame.
        planes: Neighbours' colours, and the weight of each of their pixels; at least one.
        cameras: Of the neighbours.
        inverse_depths: That are tried.
    """
    box = _box_around(wanted)
    colours, count = frame[:, *box], len(planes)
    expected = expected_error(
        colours[None],
        torch.ones_like(colours[None, :1]),
        noise=NOISE,
        texture_noise=TEXTURE_NOISE,
    ).expand(count, 1, -1, -1)
    far, shift = plane_maps(camera, cameras)
    scores, shares = [], []
    for inverse in inverse_depths:
        pixels, shown = places_on_plane(far[:, *box], shift, inverse)
        found = look_up(planes, pixels)
        vote = (found[:, 3] / FULL_VOTE).clamp(max=1) * shown
        there = (vote[:, None] > 0).float()
        error = mean_error(colours.expand(count, -1, -1, -1), found[:, :3], there)
        agreement = agreement_of(error, expected)[:, 0] * vote
        two = min(2, count)
        best_two = torch.stack([one.topk(two, dim=0).values.mean(0) for one in (agreement, vote)])
        agreed, voted = window_mean(best_two, SMOOTH)
        shares.append(best_two[1] >= LEAST_VOTE)
        scores.append(torch.where(shares[-1], agreed / voted.clamp_min(1e-6), 0.0))
    score, seen = torch.stack(scores), torch.stack(shares)
    best, index = score.max(0)
    good = ((score > ALSO_GOOD * best) & seen).sum(0)
    vague = good > MOST_GOOD * seen.sum(0)
    told = (best >= PROVEN) & ~vague & wanted[box]
    depth = torch.full_like(frame[0], torch.nan)
    depth[box] = torch.where(told, 1 / _middle(score, best, index, inverse_depths), torch.nan)
    return depth


def _middle(
    score: Float[Tensor, "depth h w"],
    best: Float[Tensor, "h w"],
    index: Int[Tensor, "h w"],
    inverse_depths: list[float],
) -> Float[Tensor, "h w"]:
    """Inverse depth amid those around the best that agree nearly as well: they are a plateau."""
    tried = torch.tensor(inverse_depths).to(score)[:, None, None]
    steps = torch.arange(len(score), device=score.device)[:, None, None]
    around = (steps - index).abs() <= PLATEAU
    share = (score - ALSO_GOOD * best).clamp_min(0) * around
    return (share * tried).sum(0) / share.sum(0)


def _box_around(wanted: Bool[Tensor, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of what is wanted, and of the windows around it."""
    reach = RADIUS + SMOOTH
    sides = []
    for axis in (1, 0):
        places = wanted.any(axis).nonzero()[:, 0]
        sides.append(slice(max(0, int(places[0]) - reach), int(places[-1]) + reach + 1))
    return sides[0], sides[1]
