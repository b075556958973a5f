"""Takes confidence from points that stand where another photo saw through."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.projection import inside_image, project_points, unproject_depth
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
    points = unproject_depth(depth, cameras)
    viewmats = cameras.viewmats
    kept = torch.ones_like(confidence)
    for i, j in pairs:
        pixels, z = project_points(points[i], viewmats[j], cameras.K[j])
        judged = inside_image(pixels, cameras.width, cameras.height) & (z > 0)
        column, row = pixels[judged].long().unbind(-1)
        before = 1 - z[judged] / depth[j, row, column]
        surer = confidence[j, row, column] > confidence[i][judged]
        share = torch.where(surer, (2 - before / tolerance).clamp(0, 1), 1)
        kept[i][judged] *= torch.where(share.isnan(), 1, share)  # where j has no depth
    return 1 + (confidence - 1) * kept
