"""Colours for pixels that nothing was seen in, taken from the background beside them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FARNESS_POWER = 8
"""How strongly the farther of two sides is preferred: a hole is where something was hidden."""


def fill_from_background(
    colour: Float[Tensor, "height width 3"],
    depth: Float[Tensor, "height width"],
    seen: Bool[Tensor, "height width"],
    neutral: Float[Tensor, "3"],
) -> Float[Tensor, "height width 3"]:
    """Continue what was seen into the holes, from the farther side.

    Each hole takes the nearest seen pixel to the left, right, top and bottom, weighed by distance
    in the picture and by depth. What has none of the four takes part in a second round.

    Args:
        colour: Any value in holes.
        depth: z; any value in holes.
        seen: Where colour and depth are known; they stay as they are.
        neutral: Fills a picture in which nothing was seen.
    """
    if not bool(seen.any()):
        return neutral.expand_as(colour).clone()
    while not bool(seen.all()):
        colour, depth, seen = _fill_once(colour, depth, seen)
    return colour


def _fill_once(
    colour: Float[Tensor, "height width 3"],
    depth: Float[Tensor, "height width"],
    seen: Bool[Tensor, "height width"],
) -> tuple[
    Float[Tensor, "height width 3"], Float[Tensor, "height width"], Bool[Tensor, "height width"]
]:
    hole_y, hole_x = (~seen).nonzero(as_tuple=True)
    rows, columns = [], []
    for dim in (0, 1):
        for nearest in _nearest_seen(seen, dim):
            found = nearest[hole_y, hole_x]
            rows.append(found if dim == 0 else torch.where(found >= 0, hole_y, -1))
            columns.append(found if dim == 1 else torch.where(found >= 0, hole_x, -1))
    row, column = torch.stack(rows), torch.stack(columns)
    exists = (row >= 0) & (column >= 0)
    row, column = row.clamp_min(0), column.clamp_min(0)
    distance = (row - hole_y).abs() + (column - hole_x).abs()
    z = torch.where(exists, depth[row, column], 0)
    farness = z / z.amax(0).clamp_min(1e-12)
    weight = torch.where(exists, farness**FARNESS_POWER / distance.clamp_min(1), 0)
    reached = exists.any(0)
    weight = (weight / weight.sum(0).clamp_min(1e-12))[:, reached]
    y, x = hole_y[reached], hole_x[reached]
    source = (row[:, reached], column[:, reached])
    colour, depth, seen = colour.clone(), depth.clone(), seen.clone()
    colour[y, x] = (weight[..., None] * colour[source]).sum(0)
    depth[y, x] = (weight * depth[source]).sum(0)
    seen[y, x] = True
    return colour, depth, seen


def _nearest_seen(seen: Bool[Tensor, "height width"], dim: int) -> tuple[Tensor, Tensor]:
    """Position along an axis of the nearest seen pixel before and after each; -1 = none."""
    length = seen.shape[dim]
    place = torch.arange(length).view(-1, 1) if dim == 0 else torch.arange(length)
    before = torch.where(seen, place, -1).cummax(dim).values
    after = torch.where(seen, place, length).flip(dim).cummin(dim).values.flip(dim)
    return before, torch.where(after == length, -1, after)
