"""Depth of each view, and what the views say of each other's."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..ops.projection import inside_image, project_points, unproject_depth
from ..types import CONFIDENT, Cameras

HIDING_SHARE = 0.02
"""A point nearer than another view's measured surface by more than this share hides it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthMaps:
    """Depth of each view."""

    depth: Float[Tensor, "view h w"]
    """z-depth in the cameras' units; NaN where none is known."""
    confidence: Float[Tensor, "view h w"]
    """>= 1; at least `CONFIDENT` where measured."""


def hides_measured(
    depth: Float[Tensor, "h w"], view: int, maps: DepthMaps, cameras: Cameras
) -> Bool[Tensor, "h w"]:
    """True where a depth of one view stands in front of what another view measured."""
    at = depth.isfinite()
    points = unproject_depth(depth[None], cameras[view])[0][at]
    hidden = torch.zeros(len(points), dtype=torch.bool)
    for other in range(len(cameras)):
        if other == view:
            continue
        camera = cameras[other]
        pixels, z = project_points(points, camera.viewmats[0], camera.K[0])
        lands = (z > 0) & inside_image(pixels, camera.width, camera.height)
        column, row = pixels[lands].long().unbind(-1)
        surface = maps.depth[other, row, column]
        is_measured = maps.confidence[other, row, column] >= CONFIDENT
        hidden[lands] |= is_measured & (z[lands] < surface * (1 - HIDING_SHARE))
    result = torch.zeros_like(at)
    result[at] = hidden
    return result
