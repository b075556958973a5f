"""A path that sways around what the captured cameras look at."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..ops.se3 import so3_exp
from ..types import Cameras, Scene
from .focus import find_focus
from .options import CameraPath, PathOptions
from .timing import ease


def orbit_cameras(scene: Scene, captured: Cameras, options: PathOptions) -> CameraPath:
    """Turn around the focus on an arc at the captured cameras' mean height.

    The arc lies `orbit_degrees` to each side of the captured cameras' mean direction, which is
    where geometry was seen, and is level with respect to the scene's up. With `loop` the camera
    sways there and back (at 180 degrees it goes full circle), so the last frame leads on to the
    first. K is the geometric mean of the captured ones. No frame is a photo.

    Raises:
        InputError: If the cameras look straight up or down, where an orbit has no side.
    """
    focus, up = find_focus(scene), scene.up
    offset = captured.centers.mean(0) - focus
    height = (offset @ up) * up
    mean_distance = (captured.centers - focus).norm(dim=-1).mean()
    radius = options.orbit_radius * mean_distance
    level = offset - height
    if level.norm() < 1e-3 * mean_distance:
        raise InputError(
            "The captured cameras stand straight above or below what they look at, so an orbit "
            "has no side to start from. Choose the kind 'interpolate'."
        )
    height = height * options.orbit_radius
    # A mean offset is no longer than the mean distance, so only rounding could fall below zero.
    reach = (radius.square() - height.square().sum()).clamp_min(0).sqrt()
    turn = so3_exp(_angles(options)[:, None] * up)
    arc = turn @ (functional.normalize(level, dim=0) * reach + height)
    poses = look_at(focus + arc, focus, up)
    K = captured.K.mean(0)
    for axis in (0, 1):
        K[axis, axis] = captured.K[:, axis, axis].log().mean().exp()
    cameras = replace(captured, camera_to_world=poses, K=K.repeat(options.frames, 1, 1))
    return CameraPath(cameras=cameras, photo_index=torch.full((options.frames,), -1))


def _angles(options: PathOptions) -> Float[Tensor, " frame"]:
    """Radians around up, from the mean camera."""
    reach = math.radians(options.orbit_degrees)
    if not options.loop:
        time = torch.linspace(0, 1, options.frames) if options.frames > 1 else torch.tensor([0.5])
        return reach * (2 * ease(time, options.easing) - 1)
    time = torch.arange(options.frames) / options.frames
    if options.orbit_degrees == 180:
        return 2 * math.pi * time
    return reach * torch.sin(2 * math.pi * time)


def look_at(
    centers: Float[Tensor, "frame 3"], target: Float[Tensor, "3"], up: Float[Tensor, "3"]
) -> Float[Tensor, "frame 4 4"]:
    """Level poses that face a point; `up` must not be the direction of sight."""
    forward = functional.normalize(target - centers, dim=-1)
    right = functional.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    poses = torch.eye(4).repeat(len(centers), 1, 1)
    poses[:, :3] = torch.stack([right, down, forward, centers], dim=-1)
    return poses
