import math

import pytest
import torch

from reconx.ops.quaternion import (
    matrix_to_quaternion,
    quaternion_multiply,
    quaternion_to_matrix,
    slerp,
)
from reconx.ops.se3 import invert_pose, rotation_angle_degrees, se3_exp, so3_exp, so3_log


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return quaternion_to_matrix(torch.randn(count, 4, generator=generator, dtype=torch.float64))


def test_quarter_turn_about_z_takes_x_to_y() -> None:
    turn = so3_exp(torch.tensor([0.0, 0.0, math.pi / 2]))
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_quaternion_round_trip_covers_half_turns() -> None:
    half_turns = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]]))
    rotations = torch.cat([random_rotations(100), half_turns.double()])
    torch.testing.assert_close(quaternion_to_matrix(matrix_to_quaternion(rotations)), rotations)


def test_quaternion_product_is_matrix_product() -> None:
    a, b = random_rotations(20, 1), random_rotations(20, 2)
    product = quaternion_multiply(matrix_to_quaternion(a), matrix_to_quaternion(b))
    torch.testing.assert_close(quaternion_to_matrix(product), a @ b)


def test_log_inverts_exp() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1)  # at most one radian
    vectors = torch.cat([vectors, 1e-7 * vectors[:5], torch.zeros(1, 3, dtype=torch.float64)])
    torch.testing.assert_close(so3_log(so3_exp(vectors)), vectors)


def test_exp_has_a_gradient_at_zero() -> None:
    tangent = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(se3_exp, (tangent,))


def test_pose_times_inverse_is_identity() -> None:
    poses = se3_exp(torch.randn(7, 6, generator=torch.Generator().manual_seed(3)))
    identity = torch.eye(4).expand(7, 4, 4)
    torch.testing.assert_close(poses @ invert_pose(poses), identity, atol=1e-5, rtol=0)


@pytest.mark.parametrize("degrees", [0.0, 0.01, 30.0, 179.9])
def test_rotation_angle(degrees: float) -> None:
    turn = so3_exp(torch.tensor([0.0, math.radians(degrees), 0.0], dtype=torch.float64))
    assert float(rotation_angle_degrees(turn)) == pytest.approx(degrees, abs=1e-4)


def test_slerp_hits_ends_and_halves_the_angle() -> None:
    start = torch.tensor([1.0, 0, 0, 0])
    end = -matrix_to_quaternion(so3_exp(torch.tensor([0.0, 0.0, 1.0])))
    for share, angle in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0)):
        middle = quaternion_to_matrix(slerp(start, end, torch.tensor(share)))
        expected = so3_exp(torch.tensor([0.0, 0.0, angle]))
        torch.testing.assert_close(middle, expected, atol=1e-6, rtol=0)
