"""Camera moves of the film set: away from one photo's camera, or swaying about it.

Owns what the moves are. Each is written in the photo camera's own axes (+X right, +Y down, +Z
forward) and in units of focus depth: the distance to the plane that the photo looks at. So one
amplitude moves the picture alike in a small scene and in a large one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..ops.se3 import skew
from ..types import Cameras, Scene
from .focus import median_depth
from .options import CameraPath, MoveOptions, PathOptions
from .timing import ease

NEAREST = 0.05
"""Share of the focus depth that a move leaves between camera and focus plane."""


class _Clock(NamedTuple):
    """How far a move has come, per frame."""

    share: Float[Tensor, " frame"]
    """Of the way: from 0 to 1, and in a loop back to 0."""
    turn: Float[Tensor, " frame"]
    """Of a round: from 0 to 1, which a loop does not repeat."""

    @staticmethod
    def of(options: PathOptions) -> "_Clock":
        frames = options.frames
        last = frames if options.loop else max(frames - 1, 1)
        time = torch.arange(frames, dtype=torch.float64) / last
        way = 1 - (2 * time - 1).abs() if options.loop else time
        return _Clock(ease(way, options.easing), ease(time, options.easing))


class _Motion(NamedTuple):
    """How a camera departs from the photo's, per frame."""

    offset: Float[Tensor, "frame 3"]
    """Of the centre, in focus depths."""
    zoom: Float[Tensor, " frame"]
    """Focal length over the photo's."""
    turned: Float[Tensor, "frame 3 3"]
    """Rotation, applied in the photo camera's axes."""


def move_camera(scene: Scene, captured: Cameras, options: PathOptions) -> CameraPath:
    """Let the camera of one photo make a move of `MOVES`.

    Frame 0 is the photo's camera, bit for bit. In a loop the camera goes there and back; rounds
    (spiral, lemniscate, a full roll) close by themselves.

    Args:
        scene: Gives the focus depth: the median depth of what the photo sees.
        captured: The scene's cameras at the path's size.
        options: Which move, how far, how many frames, loop and easing.

    Raises:
        InputError: If there is no such photo, or the camera would pass through the focus plane.
    """
    move = options.move or MoveOptions()
    photo = move.photo
    if photo >= len(captured):
        raise InputError(
            f"The path starts at photo {photo}, and the scene has {len(captured)} photos, counted "
            f"from 0. Choose one up to {len(captured) - 1}."
        )
    motion = MOVES[options.kind](_Clock.of(options), move)
    start = captured[photo]
    pose = start.camera_to_world[0].double()
    poses = pose.repeat(options.frames, 1, 1)
    poses[:, :3, :3] = pose[:3, :3] @ motion.turned
    depth = median_depth(scene, photo)
    poses[:, :3, 3] += depth * motion.offset @ pose[:3, :3].mT
    K = start.K[0].double().repeat(options.frames, 1, 1)
    K[:, [0, 1], [0, 1]] *= motion.zoom[:, None]
    poses, K = poses.float(), K.float()
    poses[0], K[0] = start.camera_to_world[0], start.K[0]
    photo_index = torch.full((options.frames,), -1)
    photo_index[0] = photo
    return CameraPath(cameras=replace(start, camera_to_world=poses, K=K), photo_index=photo_index)


def _dolly(clock: _Clock, move: MoveOptions) -> _Motion:
    """Forward along the optical axis."""
    near = _nearing(clock, move)
    return _moved(forward=1 - near)


def _zoom(clock: _Clock, move: MoveOptions) -> _Motion:
    """The focus plane grows as in a dolly of the same amplitude, from where the camera stands."""
    near = _nearing(clock, move)
    return _moved(forward=0 * near)._replace(zoom=1 / near)


def _dolly_zoom(clock: _Clock, move: MoveOptions) -> _Motion:
    """Forward, while the focal length shrinks so that the focus plane keeps its size."""
    near = _nearing(clock, move)
    return _moved(forward=1 - near)._replace(zoom=near)


def _truck(clock: _Clock, move: MoveOptions) -> _Motion:
    """To the right, without a turn."""
    return _moved(right=move.amplitude * clock.share)


def _pedestal(clock: _Clock, move: MoveOptions) -> _Motion:
    """Upwards in the picture, without a turn."""
    return _moved(down=-move.amplitude * clock.share)


def _roll(clock: _Clock, move: MoveOptions) -> _Motion:
    """About the optical axis, clockwise seen from behind the camera."""
    full = abs(move.degrees) == 360
    angle = math.radians(move.degrees) * (clock.turn if full else clock.share)
    motion = _moved(forward=torch.zeros_like(angle))
    turned = motion.turned.clone()
    turned[:, 0, 0] = turned[:, 1, 1] = torch.cos(angle)
    turned[:, 1, 0] = torch.sin(angle)
    turned[:, 0, 1] = -turned[:, 1, 0]
    return motion._replace(turned=turned)


def _spiral(clock: _Clock, move: MoveOptions) -> _Motion:
    """Ever wider rounds about the optical axis, in sight of the focus; a loop winds back in."""
    angle = 2 * math.pi * move.turns * clock.turn
    radius = move.amplitude * clock.share
    return _aimed(_moved(right=radius * torch.cos(angle), down=radius * torch.sin(angle)))


def _lemniscate(clock: _Clock, move: MoveOptions) -> _Motion:
    """A lying eight (Gerono's) through the photo's camera, in sight of the focus."""
    angle = 2 * math.pi * clock.turn
    right = move.amplitude * torch.sin(angle)
    return _aimed(_moved(right=right, down=-right * torch.cos(angle)))


MOVES: Mapping[str, Callable[[_Clock, MoveOptions], _Motion]] = {
    "spiral": _spiral,
    "dolly": _dolly,
    "zoom": _zoom,
    "dolly-zoom": _dolly_zoom,
    "truck": _truck,
    "pedestal": _pedestal,
    "roll": _roll,
    "lemniscate": _lemniscate,
}


def _nearing(clock: _Clock, move: MoveOptions) -> Float[Tensor, " frame"]:
    """Distance to the focus plane over what it was, when the camera goes forward."""
    if move.amplitude > 1 - NEAREST:
        raise InputError(
            f"An amplitude of {move.amplitude:g} takes the camera through the plane that the photo "
            f"looks at, which lies at 1. Choose at most {1 - NEAREST:g}."
        )
    return 1 - move.amplitude * clock.share


def _moved(
    right: Float[Tensor, " frame"] | None = None,
    down: Float[Tensor, " frame"] | None = None,
    forward: Float[Tensor, " frame"] | None = None,
) -> _Motion:
    """A move without zoom or turn; at least one direction is given."""
    given = next(part for part in (right, down, forward) if part is not None)
    still = torch.zeros_like(given)
    offset = [still if part is None else part for part in (right, down, forward)]
    turned = torch.eye(3, dtype=given.dtype).repeat(len(given), 1, 1)
    return _Motion(torch.stack(offset, dim=-1), torch.ones_like(given), turned)


def _aimed(motion: _Motion) -> _Motion:
    """The same move, turned by the least angle that keeps the focus in the picture's centre."""
    ahead = torch.tensor([0.0, 0.0, 1.0], dtype=motion.offset.dtype)
    sight = functional.normalize(ahead - motion.offset, dim=-1)
    # Rodrigues' formula for the rotation from one direction to another.
    axis = skew(torch.linalg.cross(ahead.expand_as(sight), sight))
    cosine = sight[:, 2, None, None]
    turned = torch.eye(3, dtype=axis.dtype) + axis + axis @ axis / (1 + cosine)
    return motion._replace(turned=turned)
