import torch

from reconx.ops.se3 import rotation_angle_degrees, se3_exp
from reconx.splats.poses import PoseRefinement

POSES = se3_exp(torch.tensor([[0.0] * 6, [0.1, -0.2, 0.3, 1.0, 2.0, 3.0], [0.2] * 6]))


def test_starts_bit_for_bit_at_the_given_poses():
    assert torch.equal(PoseRefinement(POSES, 1.0).poses(), POSES)


def test_the_first_camera_has_no_correction():
    refinement = PoseRefinement(POSES, 1.0)
    assert refinement.deltas.shape == (2, 6)
    assert not refinement.pose(0).requires_grad


def test_a_turn_keeps_the_camera_where_it_stands():
    refinement = PoseRefinement(POSES, 5.0)
    with torch.no_grad():
        refinement.deltas[0, 1] = 0.05
    before, after = POSES[1], refinement.poses()[1]
    torch.testing.assert_close(after[:3, 3], before[:3, 3])
    turned = rotation_angle_degrees(before[:3, :3].mT @ after[:3, :3])
    torch.testing.assert_close(turned, torch.rad2deg(torch.tensor(0.05)))
    assert torch.equal(refinement.poses()[2], POSES[2])


def test_translations_count_in_scene_depths_along_the_cameras_axes():
    refinement = PoseRefinement(POSES, 5.0)
    with torch.no_grad():
        refinement.deltas[1, 5] = 0.01
    forward = POSES[2, :3, 2]
    torch.testing.assert_close(refinement.poses()[2, :3, 3], POSES[2, :3, 3] + 0.05 * forward)


def test_cameras_that_may_not_move_have_no_correction():
    refinement = PoseRefinement(POSES, 1.0, moves=torch.tensor([True, True, False]))
    assert refinement.pose(1).requires_grad
    assert not refinement.pose(2).requires_grad
    assert torch.equal(refinement.pose(2), POSES[2])
