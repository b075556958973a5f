"""What the small video model is told of a clip, in its own layout and units."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ....ops.pluecker import pluecker_rays
from ....ops.se3 import invert_pose
from ....types import Cameras

RAY_CHANNELS = 15
"""What `ray_features` tells of a ray."""
CLOUD_POINTS = 1024
"""Points of the thinned-out cloud whose radius is the unit of cameras, with structure or without.
An encoder that takes as many has the very same unit, and nearly the same otherwise."""
PICTURE_CHANNELS = 14
"""First guess; 1 where it is of renders, 1 where it is of points; the keyframes before and after,
each with 1 where it is valid, and the later one's share of a cross-fade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallInputs:
    """A batch of clips of one size."""

    keyframes: Float[Tensor, "clip 4 frame height width"]
    """Colour in [-1, 1] and 1 where a frame is known; all 0 elsewhere."""
    renders: Float[Tensor, "clip 5 frame height width"]
    """Colour in [-1, 1], 1 where there is one, and 1 where it is of a point that was seen rather
    than continued from beside; all 0 elsewhere."""
    cameras: Float[Tensor, "clip frame 16"]
    """For each frame 3 x 4 of the pose in the reference camera's frame, its origin in units of the
    scene's radius; then fx, fy, cx, cy as shares of width and height."""

    @property
    def shown(self) -> Bool[Tensor, "clip frame"]:
        """Which frames are known anywhere."""
        return self.keyframes[:, 3].flatten(2).any(2)

    def pictures(
        self,
    ) -> tuple[
        Float[Tensor, "clip 3 frame height width"], Float[Tensor, "clip 14 frame height width"]
    ]:
        """A first guess of the frames, and all that is told of them in pictures."""
        before, after = (self._nearest_shown(backwards=way) for way in (False, True))
        frame = torch.arange(self.shown.shape[1], device=self.shown.device)
        # Before the first keyframe and after the last one, the one that there is stands for both.
        before, after = before.where(before >= 0, after), after.where(after >= 0, before)
        share = ((frame - before) / (after - before).clamp(min=1)).clamp(0, 1)
        share = share.to(self.keyframes)[:, None, :, None, None]
        clip = torch.arange(len(before), device=frame.device)
        earlier, later = (
            self.keyframes.transpose(1, 2)[clip[:, None], index.clamp(min=0)].transpose(1, 2)
            for index in (before, after)
        )
        faded = torch.lerp(earlier[:, :3], later[:, :3], share)
        drawn, there = self.renders[:, :3], self.renders[:, 3:4]
        guess = torch.where(there > 0, drawn, faded)
        return guess, torch.cat(
            [guess, self.renders[:, 3:], earlier, later, share.expand_as(there)], 1
        )

    def _nearest_shown(self, *, backwards: bool) -> Int[Tensor, "clip frame"]:
        """Each frame's last keyframe up to it, or the first from it on; -1 = none."""
        frames = self.shown.shape[1]
        frame = torch.arange(frames, device=self.shown.device)
        if backwards:
            later = frame.where(self.shown, frames).flip(1).cummin(1).values.flip(1)
            return later.where(later < frames, -1)
        return frame.where(self.shown, -1).cummax(1).values

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
    """Direction d, moment, nearest point c to the origin; and the products of d.

    Args:
        rays: Moment, unit direction.
    """
    moment, direction = rays.split(3, dim=-1)
    x, y, z = direction.unbind(-1)
    products = torch.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], -1)
    nearest = torch.linalg.cross(direction, moment)
    return torch.cat([direction, moment, nearest, products], -1)


def compare_with_places(
    rays: Float[Tensor, "*n 15"],
    sharpness: Float[Tensor, " head"],
    nearness: Float[Tensor, " head"],
) -> Float[Tensor, "*n head 9"]:
    """Factors of `describe_places`, whose scalar product falls with a point's distance.

    The squared distance from a point p to the line is `|p|^2 - (p.d)^2 - 2 p.c + |c|^2`, of which
    the last term is the same for all points.

    Args:
        rays: From `ray_features`.
        sharpness: What a squared distance of 1 takes off.
        nearness: What a depth of 1 along the ray takes off: what is near hides what is far.
    """
    direction, _, nearest, products = rays[..., None, :].split((3, 3, 3, 6), dim=-1)
    sharp, near = sharpness[:, None], nearness[:, None]
    across = products - products.new_tensor([1, 1, 1, 0, 0, 0])
    return torch.cat([2 * sharp * nearest - near * direction, sharp * across], -1)


def describe_cameras(
    cameras: Cameras, reference: Cameras, radius: float
) -> Float[Tensor, "frame 16"]:
    """Cameras in the frame of one of them, in the layout of `SmallInputs.cameras`.

    Args:
        cameras: Of one clip.
        reference: In whose frame structure tokens stand, the first of the clip.
        radius: Of the scene, in its own units.
    """
    pose = (invert_pose(reference.camera_to_world) @ cameras.camera_to_world)[:, :3].clone()
    pose[..., 3] /= radius
    sides = torch.tensor([cameras.width, cameras.height])
    focal = cameras.K[:, [0, 1], [0, 1]] / sides
    centre = cameras.K[:, :2, 2] / sides
    return torch.cat([pose.flatten(1), focal, centre], 1)


def describe_renders(
    colour: Float[Tensor, "frame height width 3"],
    there: Bool[Tensor, "frame height width"],
    seen: Bool[Tensor, "frame height width"],
) -> Float[Tensor, "5 frame height width"]:
    """Pictures of what is known of frames, in the layout of `SmallInputs.renders`.

    Args:
        colour: In [0, 1].
        there: Where it is worth looking at.
        seen: Where it is of a point that was seen.
    """
    return torch.cat([_masked(colour, there), seen[None].to(colour)])


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
