"""What the small video model is told of a clip, in its own layout and units."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ....ops.pluecker import pluecker_rays
from ....ops.se3 import invert_pose
from ....types import Cameras, PointRenders

RAY_CHANNELS = 15
"""Direction, moment, nearest point to the origin, and the six products of the direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallInputs:
    """A batch of clips of one size."""

    keyframes: Float[Tensor, "clip 4 frame height width"]
    """Colour in [-1, 1] and 1 where a frame is known; all 0 elsewhere."""
    renders: Float[Tensor, "clip 4 frame height width"]
    """Colour in [-1, 1] and 1 where points were drawn; all 0 elsewhere."""
    cameras: Float[Tensor, "clip frame 16"]
    """For each frame 3 x 4 of the pose in the first camera's frame, its origin in units of the
    scene's radius; then fx, fy, cx, cy as shares of width and height."""

    @property
    def shown(self) -> Bool[Tensor, "clip frame"]:
        """Which frames are known anywhere."""
        return self.keyframes[:, 3].flatten(2).any(2)

    def ray_planes(self, height: int, width: int) -> Float[Tensor, "clip 15 frame h w"]:
        """Rays through the centres of so many rows and columns."""
        clips, frames = self.cameras.shape[:2]
        told = self.cameras.flatten(0, 1).float()
        pose = torch.eye(4, device=told.device).repeat(len(told), 1, 1)
        pose[:, :3] = told[:, :12].unflatten(1, (3, 4))
        K = torch.eye(3, device=told.device).repeat(len(told), 1, 1)
        K[:, 0, 0], K[:, 1, 1] = told[:, 12] * width, told[:, 13] * height
        K[:, 0, 2], K[:, 1, 2] = told[:, 14] * width, told[:, 15] * height
        cameras = Cameras(camera_to_world=pose, K=K, width=width, height=height)
        planes = ray_features(pluecker_rays(cameras)).permute(0, 3, 1, 2)
        return planes.unflatten(0, (clips, frames)).transpose(1, 2)


def ray_features(rays: Float[Tensor, "*n 6"]) -> Float[Tensor, "*n 15"]:
    """What is linear in a ray's squared distance to a point.

    Args:
        rays: Moment, unit direction.
    """
    moment, direction = rays.split(3, dim=-1)
    x, y, z = direction.unbind(-1)
    products = torch.stack([x * x, y * y, z * z, x * y, x * z, y * z], -1)
    nearest = torch.linalg.cross(direction, moment)
    return torch.cat([direction, moment, nearest, products], -1)


def describe_cameras(cameras: Cameras, radius: float) -> Float[Tensor, "frame 16"]:
    """Cameras in the first one's frame, in the layout of `SmallInputs.cameras`.

    Args:
        cameras: Of one clip.
        radius: Of the scene, in its own units.
    """
    pose = (invert_pose(cameras.camera_to_world[:1]) @ cameras.camera_to_world)[:, :3].clone()
    pose[..., 3] /= radius
    sides = torch.tensor([cameras.width, cameras.height])
    focal = cameras.K[:, [0, 1], [0, 1]] / sides
    centre = cameras.K[:, :2, 2] / sides
    return torch.cat([pose.flatten(1), focal, centre], 1)


def describe_renders(renders: PointRenders) -> Float[Tensor, "4 frame height width"]:
    """Colours and where there are any, in the layout of `SmallInputs.renders`."""
    return _masked(renders.colour, ~renders.hole)


def describe_keyframes(
    images: Sequence[Float[Tensor, "height width 3"]],
    valid: Sequence[Bool[Tensor, "height width"]],
    index: Sequence[int],
    frames: int,
) -> Float[Tensor, "4 frame height width"]:
    """Keyframes at their places in a clip, in the layout of `SmallInputs.keyframes`.

    Args:
        images: At least one; in [0, 1].
        valid: False on padding and masks.
        index: Which frame of the clip each one is.
        frames: How many the clip has.
    """
    colour = torch.zeros(frames, *images[0].shape)
    known = torch.zeros(colour.shape[:3], dtype=torch.bool)
    for image, mask, frame in zip(images, valid, index, strict=True):
        colour[frame], known[frame] = image, mask
    return _masked(colour, known)


def _masked(
    colour: Float[Tensor, "frame height width 3"], there: Bool[Tensor, "frame height width"]
) -> Float[Tensor, "4 frame height width"]:
    planes = torch.cat([colour * 2 - 1, torch.ones_like(colour[..., :1])], -1)
    return (planes * there[..., None]).permute(3, 0, 1, 2)
