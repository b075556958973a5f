"""Depth of each view, and what the views say of each other's."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..checks import check_shape
from ..ops.image import dilate
from ..ops.projection import inside_image, project_points, unproject_depth
from ..types import CONFIDENT, FILLED, Cameras

HIDING_SHARE = 0.02
"""A point nearer than another view's measured surface by more than this share hides it."""
BEND_SHARE = 0.1
"""A step of inverse depth by more than this share is no surface, nor what lies beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthMaps:
    """Depth of each view."""

    depth: Float[Tensor, "view h w"]
    """z-depth in the cameras' units; NaN where none is known."""
    confidence: Float[Tensor, "view h w"]
    """>= 1; at least `CONFIDENT` where measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenDepth:
    """What another program says of the photos, in their order, at any resolution."""

    depth: Float[Tensor, "view h w"]
    """z-depth; NaN where unknown, as in the sky. Of one scale only if there are poses."""
    confidence: Float[Tensor, "view h w"] | None = None
    """The program's own, >= 1; None where it tells none."""
    K: Float[Tensor, "view 3 3"] | None = None
    """Intrinsics at the depth's resolution; pixel centres at +0.5."""
    camera_to_world: Float[Tensor, "view 4 4"] | None = None
    """Poses in a world of the depth's scale."""
    estimator: str
    """Who found it."""
    licence: str
    """Of the weights that found it."""

    def __post_init__(self) -> None:
        """Check that all parts speak of the same views."""
        views, height, width = self.depth.shape
        if self.confidence is not None:
            check_shape("Confidence of given depth", self.confidence, views, height, width)
        if self.K is not None:
            check_shape("Intrinsics of given depth", self.K, views, 3, 3)
        if self.camera_to_world is not None:
            check_shape("Poses of given depth", self.camera_to_world, views, 4, 4)


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


def without_flying(maps: DepthMaps) -> DepthMaps:
    """Without points between a near and a far surface, which networks and resampling put there.

    The inverse depth of a plane is affine in the pixel, so only bends and steps show in its second
    differences.
    """
    inverse = 1 / maps.depth
    flying = torch.zeros_like(inverse, dtype=torch.bool)
    for axis in (1, 2):
        before, here, after = (
            inverse.narrow(axis, start, inverse.shape[axis] - 2) for start in range(3)
        )
        jumps = (before - 2 * here + after).abs() > BEND_SHARE * here
        flying.narrow(axis, 1, jumps.shape[axis]).logical_or_(jumps)
    flying = dilate(flying, 1)
    return DepthMaps(
        depth=torch.where(flying, torch.nan, maps.depth),
        confidence=torch.where(flying, 1.0, maps.confidence),
    )


def without_hiding(maps: DepthMaps, cameras: Cameras) -> DepthMaps:
    """Guesses, below `CONFIDENT`, as such: at most `FILLED`, and none before what was measured."""
    guessed = maps.depth.isfinite() & (maps.confidence < CONFIDENT)
    depth = torch.where(guessed, maps.depth, torch.nan)
    hides = torch.stack(
        [hides_measured(depth[view], view, maps, cameras) for view in range(len(cameras))]
    )
    confidence = torch.where(guessed, maps.confidence.clamp(max=FILLED), maps.confidence)
    return DepthMaps(
        depth=torch.where(hides, torch.nan, maps.depth),
        confidence=torch.where(hides, 1.0, confidence),
    )


def resample_maps(maps: DepthMaps, width: int, height: int) -> DepthMaps:
    """The nearest pixels at another size: a mean of near and far would stand between them."""

    def nearest(values: Float[Tensor, "view h w"]) -> Float[Tensor, "view height width"]:
        return functional.interpolate(values[:, None], (height, width), mode="nearest-exact")[:, 0]

    return DepthMaps(depth=nearest(maps.depth), confidence=nearest(maps.confidence))
