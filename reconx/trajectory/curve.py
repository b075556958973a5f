"""A smooth way through given cameras, in the order in which they are given."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..ops.quaternion import matrix_to_quaternion, quaternion_to_matrix, slerp
from ..types import Cameras, Scene
from .focus import camera_distances, find_focus, median_depth
from .options import PathOptions
from .timing import ease, place_knots

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]


def travel_through(stops: Cameras, scene: Scene, options: PathOptions) -> tuple[Cameras, list[int]]:
    """Lay a path through cameras, frames shared out by the distance between them.

    The stops are hit exactly, bit for bit. Two: rotations by slerp, while the scene's focus moves
    straight across the picture, so the camera keeps looking at it. More: Catmull-Rom curves with
    centripetal knots (Yuksel et al. 2011) for centres and, with slerp in place of every lerp, for
    rotations (Schlag 1991). Focal lengths go geometrically.

    Args:
        stops: At least two cameras, in order.
        scene: Gives focus and depth.
        options: The path's length, loop and easing.

    Returns:
        The path, and the frame at which each stop is reached.

    Raises:
        InputError: If there are fewer frames than stops.
    """
    count = len(stops)
    if options.frames < count:
        raise InputError(
            f"A path of {options.frames} frames cannot pass through {count} cameras. "
            f"Ask for at least {count} frames, better {2 * count - 1} or more."
        )
    distance = camera_distances(stops, median_depth(scene))
    legs = distance.diagonal(1).tolist()
    if options.loop:
        legs.append(float(distance[-1, 0]))
    knots = place_knots(legs, options)

    guides = _with_neighbours(stops, legs, options.loop)
    poses, Ks = [], []
    for leg, (first, last) in enumerate(zip(knots, knots[1:], strict=False)):
        share = _leg_shares(first, last, knots[-1], options)
        start, end = stops[leg], stops[(leg + 1) % count]
        if count == 2:
            poses.append(_around_focus(start, end, find_focus(scene), share))
        else:
            poses.append(_along_curve(guides, leg, share))
        Ks.append(_between_intrinsics(start.K[0], end.K[0], share))
    if not options.loop:
        poses.append(stops.camera_to_world[-1:])
        Ks.append(stops.K[-1:])

    camera_to_world, K = torch.cat(poses).float(), torch.cat(Ks).float()
    reached = knots[:count]
    camera_to_world[reached], K[reached] = stops.camera_to_world, stops.K
    return replace(stops, camera_to_world=camera_to_world, K=K), reached


def _leg_shares(first: int, last: int, end: int, options: PathOptions) -> Float[Tensor, " frame"]:
    """How far along its leg each frame in [first, last) is, in [0, 1)."""
    time = ease(torch.arange(first, last + 1, dtype=torch.float64) / end, options.easing)
    return ((time - time[0]) / (time[-1] - time[0]))[:-1]


def _between_intrinsics(
    start: Float[Tensor, "3 3"], end: Float[Tensor, "3 3"], share: Float[Tensor, " frame"]
) -> Float[Tensor, "frame 3 3"]:
    """K in between: focal lengths geometrically, since zoom is a ratio; the rest linearly."""
    share = share[:, None, None]
    K = torch.lerp(start.double(), end.double(), share)
    for axis in (0, 1):
        ratio = float(end[axis, axis] / start[axis, axis])
        K[:, axis, axis] = float(start[axis, axis]) * ratio ** share[:, 0, 0]
    return K


def _around_focus(
    start: Cameras, end: Cameras, focus: Float[Tensor, "3"], share: Float[Tensor, " frame"]
) -> Float[Tensor, "frame 4 4"]:
    """Poses between two that see the focus move straight from its place in one to the other."""
    ends = torch.cat([start.camera_to_world, end.camera_to_world]).double()
    local = ((focus.double() - ends[:, :3, 3])[:, None] @ ends[:, :3, :3])[:, 0]
    quaternions = matrix_to_quaternion(ends[:, :3, :3])
    rotation = quaternion_to_matrix(_mix_rotations(quaternions[0], quaternions[1], share))
    seen = torch.lerp(local[0], local[1], share[:, None])
    return _poses(rotation, focus.double() - (rotation @ seen[..., None])[..., 0])


def _with_neighbours(
    stops: Cameras, legs: list[float], loop: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Centres, rotations and curve parameters of the cameras with one more at either end.

    A loop goes on with its own cameras; an open path is continued by reflection.
    """
    centers = stops.centers.double()
    turns = matrix_to_quaternion(stops.camera_to_world[:, :3, :3].double())
    if loop:
        index = [len(stops) - 1, *range(len(stops)), 0, 1]
        centers, turns = centers[index], turns[index]
        legs = [legs[-1], *legs, legs[0]]
    else:
        back = torch.tensor([-1.0], dtype=torch.float64)

        def beyond(values: Tensor, mix: Mix) -> Tensor:
            before, after = mix(values[0], values[1], back), mix(values[-1], values[-2], back)
            return torch.cat([before, values, after])

        centers, turns = beyond(centers, _mix_points), beyond(turns, _mix_rotations)
        legs = [legs[0], *legs, legs[-1]]
    # Centripetal: the parameter grows with the root of the distance. Two cameras at one place
    # would have the same parameter; the floor keeps them apart.
    steps = [math.sqrt(max(leg, 1e-9)) for leg in legs]
    knots = torch.tensor([0.0, *steps], dtype=torch.float64).cumsum(0)
    return centers, turns, knots


def _along_curve(
    guides: tuple[Tensor, Tensor, Tensor], leg: int, share: Float[Tensor, " frame"]
) -> Float[Tensor, "frame 4 4"]:
    centers, turns, knots = guides
    four = slice(leg, leg + 4)
    time = torch.lerp(knots[leg + 1], knots[leg + 2], share)
    center = _catmull_rom(centers[four], knots[four], time, _mix_points)
    turn = _catmull_rom(turns[four], knots[four], time, _mix_rotations)
    return _poses(quaternion_to_matrix(turn), center)


def _catmull_rom(
    values: Float[Tensor, "4 channel"],
    knots: Float[Tensor, "4"],
    time: Float[Tensor, " frame"],
    mix: Mix,
) -> Float[Tensor, "frame channel"]:
    """The pyramid of Barry and Goldman (1988) with any way to mix two values."""
    layer: list[Tensor] = list(values)
    # Each layer mixes neighbours; the middle one spans only the leg itself.
    for spans in (((0, 1), (1, 2), (2, 3)), ((0, 2), (1, 3)), ((1, 2),)):
        layer = [
            mix(layer[k], layer[k + 1], (time - knots[a]) / (knots[b] - knots[a]))
            for k, (a, b) in enumerate(spans)
        ]
    return layer[0]


def _mix_points(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(start, end, share[:, None])


def _mix_rotations(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    shape = (len(share), 4)
    return slerp(start.expand(shape), end.expand(shape), share)


def _poses(
    rotation: Float[Tensor, "frame 3 3"], center: Float[Tensor, "frame 3"]
) -> Float[Tensor, "frame 4 4"]:
    poses = torch.eye(4, dtype=rotation.dtype).repeat(len(rotation), 1, 1)
    poses[:, :3, :3], poses[:, :3, 3] = rotation, center
    return poses
