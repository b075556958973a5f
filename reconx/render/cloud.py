"""A scene's pointmaps as one coloured cloud whose points know their surface."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ..checks import check_shape
from ..ops.photos import resize_photos
from ..ops.projection import world_to_camera
from ..types import CONFIDENT, Cameras, Scene

STEP = 2
"""Pixels to either side over which the surface is measured: one is too noisy, more rounds edges."""
JUMP = 0.05
"""Neighbours whose depth differs by a larger share lie on another surface."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCloud:
    """Coloured points, each a small patch of surface as large as the pixel it came from."""

    points: Float[Tensor, "n 3"]
    """World."""
    colours: Float[Tensor, "n 3"]
    """sRGB in [0, 1]."""
    confidence: Float[Tensor, " n"]
    """>= 1."""
    tangents: Float[Tensor, "n 2 3"]
    """From the point to its right and to its lower neighbour on the surface, as the photo saw it;
    world units. right x down points away from the camera that saw it."""
    photo_index: Int[Tensor, " n"]
    """Which photo saw the point."""

    def __post_init__(self) -> None:
        """Check shapes."""
        count = len(self.points)
        check_shape("PointCloud.points", self.points, None, 3)
        check_shape("PointCloud.colours", self.colours, count, 3)
        check_shape("PointCloud.confidence", self.confidence, count)
        check_shape("PointCloud.tangents", self.tangents, count, 2, 3)
        check_shape("PointCloud.photo_index", self.photo_index, count)

    def __len__(self) -> int:
        """Count the points."""
        return len(self.points)

    def select(self, keep: Bool[Tensor, " n"]) -> "PointCloud":
        """Some of the points."""
        fields = {name: getattr(self, name)[keep] for name in self.__dataclass_fields__}
        return replace(self, **fields)

    def to(self, device: torch.device | str) -> "PointCloud":
        """The same cloud on a device."""
        fields = {name: getattr(self, name).to(device) for name in self.__dataclass_fields__}
        return replace(self, **fields)


def scene_cloud(scene: Scene, min_confidence: float = CONFIDENT) -> PointCloud:
    """All points of a scene that are certain enough, photo by photo.

    Args:
        scene: Photos are resampled to the geometry's resolution for colour.
        min_confidence: Points below it are left out. By default that is every filled point, since
            a fill that hides a measured surface is worse than a hole.
    """
    keep = scene.valid & (scene.confidence >= min_confidence)
    photos = resize_photos(scene.photos, scene.cameras.width, scene.cameras.height)
    view = torch.arange(len(photos))[:, None, None].expand(keep.shape)
    return PointCloud(
        points=scene.points[keep],
        colours=photos.images[keep],
        confidence=scene.confidence[keep],
        tangents=surface_tangents(scene.points, keep, scene.cameras)[keep],
        photo_index=view[keep],
    )


def surface_tangents(
    points: Float[Tensor, "view h w 3"], keep: Bool[Tensor, "view h w"], cameras: Cameras
) -> Float[Tensor, "view h w 2 3"]:
    """Steps along the surface, in world units per pixel to the right and down.

    Central differences over `STEP` pixels; where a neighbour is missing or lies across a depth
    edge, both steps are those of a surface that faces the camera.

    Args:
        points: Pointmaps; NaN where not valid.
        keep: Which points count.
        cameras: At the pointmaps' resolution.

    Returns:
        Steps; NaN where the point itself is.
    """
    tangents = []
    for view, viewmat in enumerate(cameras.viewmats):
        z = world_to_camera(points[view], viewmat)[..., 2]
        right, right_holds = _central_difference(points[view], keep[view], z, dim=1)
        down, down_holds = _central_difference(points[view], keep[view], z, dim=0)
        flat = z[..., None, None] * _pixel_steps(cameras.camera_to_world[view], cameras.K[view])
        holds = (right_holds & down_holds)[..., None, None]
        tangents.append(torch.where(holds, torch.stack([right, down], dim=-2), flat))
    return torch.stack(tangents)


def _pixel_steps(
    camera_to_world: Float[Tensor, "4 4"], K: Float[Tensor, "3 3"]
) -> Float[Tensor, "2 3"]:
    """World steps per pixel to the right and down, on a plane at depth 1 that faces the camera."""
    return torch.linalg.inv(K)[:, :2].mT @ camera_to_world[:3, :3].mT


def _central_difference(
    point: Float[Tensor, "h w 3"], kept: Bool[Tensor, "h w"], z: Float[Tensor, "h w"], dim: int
) -> tuple[Float[Tensor, "h w 3"], Bool[Tensor, "h w"]]:
    """Step per pixel along a picture axis, and where both neighbours lie on the same surface."""
    length = point.shape[dim] - 2 * STEP
    step, holds = torch.zeros_like(point), torch.zeros_like(kept)
    if length <= 0:
        return step, holds
    before, after = point.narrow(dim, 0, length), point.narrow(dim, 2 * STEP, length)
    step.narrow(dim, STEP, length).copy_((after - before) / (2 * STEP))
    here = z.narrow(dim, STEP, length)
    same = torch.ones_like(here, dtype=torch.bool)
    for start in (0, 2 * STEP):
        there = z.narrow(dim, start, length)
        same &= kept.narrow(dim, start, length) & ((there - here).abs() < JUMP * here)
    holds.narrow(dim, STEP, length).copy_(same)
    return step, holds


def surface_facing(
    points: Float[Tensor, "*batch 3"],
    tangents: Float[Tensor, "*batch 2 3"],
    center: Float[Tensor, "3"],
) -> Float[Tensor, "*batch"]:
    """Cosine between each point's normal and the way to a camera; negative from behind."""
    away = torch.linalg.cross(tangents[..., 0, :], tangents[..., 1, :])
    return functional.cosine_similarity(away, points - center, dim=-1)
