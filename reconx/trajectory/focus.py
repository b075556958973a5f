"""What the captured cameras look at, and how far apart they are."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..ops.se3 import rotation_angle_degrees
from ..types import Cameras, Scene


def median_depth(scene: Scene, photo: int | None = None) -> float:
    """Median z of the measured points, each in its own camera; of the filled ones if none is.

    Args:
        scene: Whose points.
        photo: Only what this photo saw, unless it saw nothing; None = all of them.

    Raises:
        InputError: If the scene holds no point at all.
    """
    counted = scene.measured if bool(scene.measured.any()) else scene.valid
    if not bool(counted.any()):
        raise InputError(
            "The scene holds no valid point, so a path has nothing to look at. "
            "Give photos that show a textured surface from several sides."
        )
    forward = scene.cameras.camera_to_world[:, :3, 2]
    offsets = scene.points - scene.cameras.centers[:, None, None]
    z = torch.einsum("vhwi,vi->vhw", offsets, forward)
    if photo is not None and bool(counted[photo].any()):
        z, counted = z[photo], counted[photo]
    return float(z[counted].median())


def find_focus(scene: Scene) -> Float[Tensor, "3"]:
    """The point that the captured cameras look at, in the scene's frame.

    Least-squares intersection of the optical axes, each axis' nearest point then held between half
    and twice the median depth: nearly parallel axes meet far behind the scene or behind the
    cameras, where a path must not pivot.
    """
    cameras, depth = scene.cameras, median_depth(scene)
    axes, centers = cameras.camera_to_world[:, :3, 2].double(), cameras.centers.double()
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]
    # A weak pull towards the median depth along each axis keeps parallel axes solvable.
    pull = 1e-3 * axes[:, :, None] * axes[:, None, :]
    target = centers + depth * axes
    right = (across @ centers[..., None] + pull @ target[..., None]).sum(0)
    meeting = torch.linalg.solve((across + pull).sum(0), right)[:, 0]
    along = ((meeting - centers) * axes).sum(-1).clamp(0.5 * depth, 2 * depth)
    return (centers + along[:, None] * axes).mean(0).float()


def camera_distances(cameras: Cameras, depth: float) -> Float[Tensor, "view view"]:
    """How unlike any two cameras' pictures are: shift over scene depth plus turn in radians.

    To first order both move the picture by as much, in focal lengths.
    """
    rotation = cameras.camera_to_world[:, :3, :3].double()
    turn = torch.deg2rad(rotation_angle_degrees(rotation[:, None].mT @ rotation[None]))
    shift = torch.cdist(cameras.centers.double(), cameras.centers.double())
    return shift / depth + turn
