"""Rigid motions: exponential, logarithm, inverse."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrix that takes the cross product with `vector`."""
    rows = vector[..., None, :].expand(*vector.shape[:-1], 3, 3)
    axes = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return torch.linalg.cross(rows, axes.expand_as(rows)).mT


def so3_exp(rotation_vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of an axis times an angle in radians; differentiable at zero.

    Rodrigues' formula. `torch.linalg.matrix_exp` is off by 2e-5 in float32.
    """
    angle = torch.linalg.vector_norm(rotation_vector, dim=-1)[..., None, None]
    # sinc(x) is sin(pi x) / (pi x), and 1 at 0, where its slope and the norm's are 0.
    first = torch.sinc(angle / math.pi)
    # 1 - cos(a) = 2 sin(a / 2)^2 does not cancel.
    second = torch.sinc(angle / (2 * math.pi)).square() / 2
    generator = skew(rotation_vector)
    identity = torch.eye(3, dtype=angle.dtype, device=angle.device)
    return identity + first * generator + second * (generator @ generator)


def so3_log(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis times angle (radians, at most pi) of a rotation matrix."""
    from .quaternion import matrix_to_quaternion

    quaternion = matrix_to_quaternion(rotation)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = torch.linalg.vector_norm(quaternion[..., 1:], dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[..., :1])
    # sin(angle / 2) / angle tends to 1/2, so small rotations keep their direction.
    factor = torch.where(sine > 1e-8, angle / sine.clamp_min(1e-8), torch.full_like(sine, 2.0))
    return quaternion[..., 1:] * factor


def se3_exp(tangent: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """Rigid motion of (rotation vector, translation); the translation is applied as it stands.

    Rotation and translation are kept apart (not the screw motion of the Lie exponential): a pose
    correction then shifts a camera by exactly its translation, whatever its rotation.
    """
    top = torch.cat([so3_exp(tangent[..., :3]), tangent[..., 3:, None]], dim=-1)
    bottom = torch.eye(4, dtype=tangent.dtype, device=tangent.device)[3:]
    return torch.cat([top, bottom.expand(*tangent.shape[:-1], 1, 4)], dim=-2)


def invert_pose(pose: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Inverse of a rigid motion, exact up to rounding."""
    rotation = pose[..., :3, :3].mT
    translation = -rotation @ pose[..., :3, 3:]
    top = torch.cat([rotation, translation], dim=-1)
    return torch.cat([top, pose[..., 3:, :]], dim=-2)


def rotation_angle_degrees(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Angle of a rotation matrix, in degrees."""
    return torch.rad2deg(torch.linalg.vector_norm(so3_log(rotation), dim=-1))
