"""Similarities: fitting one between point sets, and applying one to what ReconX knows."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..types import Cameras, Gaussians, Sim3
from .quaternion import matrix_to_quaternion, quaternion_multiply
from .sh import rotate_sh


def fit_sim3(
    source: Float[Tensor, "n 3"],
    target: Float[Tensor, "n 3"],
    weights: Float[Tensor, " n"] | None = None,
) -> Sim3:
    """The similarity that takes `source` onto `target` with least squared error (Umeyama 1991).

    Args:
        source: At least three points, not all on one line.
        target: Where they should go.
        weights: Non-negative; None weighs all points alike.

    Raises:
        InputError: With fewer than three points.
    """
    if len(source) < 3:
        raise InputError(f"A similarity needs at least 3 point pairs; {len(source)} were given.")
    source, target = source.double(), target.double()
    weights = torch.ones(len(source)) if weights is None else weights
    weights = (weights.double() / weights.sum())[:, None]
    source_mean, target_mean = (weights * source).sum(0), (weights * target).sum(0)
    source, target = source - source_mean, target - target_mean
    left, singular, right = torch.linalg.svd((weights * target).mT @ source)
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.linalg.det(left @ right))
    rotation = left @ torch.diag(sign) @ right
    scale = float((singular * sign).sum() / (weights * source.square()).sum())
    translation = target_mean - scale * (rotation @ source_mean)
    return Sim3(rotation=rotation.float(), translation=translation.float(), scale=scale)


def fit_sim3_to_cameras(source: Cameras, target: Cameras) -> Sim3:
    """The similarity that takes posed cameras onto their counterparts.

    The rotation weighs the cameras' orientations and the layout of their centres alike, so that two
    views are enough and views on one line leave no free turn; scale and shift follow from the
    centres.

    Raises:
        InputError: With fewer than two cameras or when all centres coincide.
    """
    if len(source) < 2:
        raise InputError(f"Aligning cameras needs at least 2; {len(source)} were given.")
    start, goal = source.centers.double(), target.centers.double()
    start_mean, goal_mean = start.mean(0), goal.mean(0)
    start, goal = start - start_mean, goal - goal_mean
    start_size, goal_size = torch.linalg.norm(start), torch.linalg.norm(goal)
    if min(start_size, goal_size) < 1e-9:
        raise InputError("All cameras stand at one place; their alignment has no scale.")
    turns = target.camera_to_world[:, :3, :3].double() @ source.viewmats[:, :3, :3].double()
    layout = goal.mT @ start / (start_size * goal_size)
    rotation = _nearest_rotation(turns.mean(0) + layout)
    scale = float(((start @ rotation.mT) * goal).sum() / start_size.square())
    shift = goal_mean - scale * (rotation @ start_mean)
    return Sim3(rotation=rotation.float(), translation=shift.float(), scale=scale)


def _nearest_rotation(matrix: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.ones(3, dtype=matrix.dtype)
    sign[2] = torch.sign(torch.linalg.det(left @ right))
    return left @ torch.diag(sign) @ right


def apply_sim3_to_points(
    similarity: Sim3, points: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]:
    """Move points; NaN stays NaN."""
    rotation = similarity.rotation.to(points)
    return similarity.scale * (points @ rotation.mT) + similarity.translation.to(points)


def apply_sim3_to_cameras(similarity: Sim3, cameras: Cameras) -> Cameras:
    """Move cameras; K stays, since a similarity does not change what a pinhole camera sees."""
    poses = cameras.camera_to_world.clone()
    poses[:, :3, :3] = similarity.rotation.to(poses) @ poses[:, :3, :3]
    poses[:, :3, 3] = apply_sim3_to_points(similarity, cameras.centers)
    return replace(cameras, camera_to_world=poses)


def apply_sim3_to_gaussians(similarity: Sim3, gaussians: Gaussians) -> Gaussians:
    """Move Gaussians, their shapes and their view-dependent colours."""
    turn = matrix_to_quaternion(similarity.rotation).to(gaussians.quats)
    return replace(
        gaussians,
        means=apply_sim3_to_points(similarity, gaussians.means),
        quats=quaternion_multiply(turn.expand_as(gaussians.quats), gaussians.quats),
        scales=gaussians.scales * similarity.scale,
        sh=rotate_sh(gaussians.sh, similarity.rotation),
    )
