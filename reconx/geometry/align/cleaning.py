"""Takes confidence from points that stand where another photo saw through."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from ...types import Cameras


def clean_confidence(
    depth: Float[Tensor, "view height width"],
    confidence: Float[Tensor, "view height width"],
    cameras: Cameras,
    pairs: Iterable[tuple[int, int]],
    tolerance: float,
) -> Float[Tensor, "view height width"]:
    """Doubt every point that would hide what another photo sees more surely.

    A point at depth z of a camera whose own depth there is D stands in front by `1 - z / D`. Where
    that photo is the surer one, `confidence - 1` falls linearly with it: nothing is lost up to the
    tolerance, all at twice that. Several photos' doubts multiply. (The idea is that of DUSt3R's
    `clean_pointcloud`, which drops a point for 0.1 %: less than the noise of its depths.)

    Args:
        depth: z-depth; NaN where unknown.
        confidence: >= 1; all comparisons are with these values, so no order matters.
        cameras: At the depths' resolution.
        pairs: (i, j): photo j judges photo i.
        tolerance: Share of depth.

    Returns:
        >= 1, and nowhere more than before.
    """
    size = (cameras.height, cameras.width)
    kept = torch.ones_like(confidence)
    for i, j in pairs:
        column, row, z = _pixels_seen_by(depth[i], cameras[i], cameras[j])
        inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0]) & (z > 0)
        place = torch.where(inside, row.long() * size[1] + column.long(), 0)
        before = 1 - z / depth[j].take(place)
        doubted = inside & (before > tolerance)  # false for NaN: where j has no depth
        doubted &= confidence[j].take(place) > confidence[i]
        kept[i] *= torch.where(doubted, (2 - before / tolerance).clamp_min(0), 1)
    return 1 + (confidence - 1) * kept


def _pixels_seen_by(
    depth: Float[Tensor, "height width"], source: Cameras, target: Cameras
) -> tuple[
    Float[Tensor, "height width"], Float[Tensor, "height width"], Float[Tensor, "height width"]
]:
    """Column, row and z-depth at which one camera sees another one's points.

    Along a row of pixels the rays change evenly, so a point is depth times (a column's part plus a
    row's part) plus a shift: a fraction of the work of lifting and projecting each point.
    """
    motion = (target.viewmats[0] @ source.camera_to_world[0]).double()
    turn = target.K[0].double() @ motion[:3, :3] @ torch.linalg.inv(source.K[0].double())
    shift = (target.K[0].double() @ motion[:3, 3]).to(depth)
    height, width = depth.shape
    columns = (turn[:, :1] * (torch.arange(width) + 0.5)).to(depth)
    rows = (turn[:, 1:2] * (torch.arange(height) + 0.5) + turn[:, 2:]).to(depth)
    x, y, z = (
        torch.addcmul(shift[axis], depth, columns[axis] + rows[axis][:, None]) for axis in range(3)
    )
    return x / z, y / z, z
