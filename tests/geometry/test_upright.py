"""Which way is up, and worlds that are turned to stand on their feet."""

import math
from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.geometry.upright import AXES, estimate_up, smallest_rotation, stand_upright
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.types import Cameras, Scene, Sim3

UP = torch.tensor([0.0, -1.0, 0.0])
"""In every world that stands upright."""


@pytest.fixture(scope="module")
def tilted(plane_scene) -> Scene:
    """The scene in a user's world that is turned, moved and tripled."""
    world = Sim3(
        rotation=so3_exp(torch.tensor([0.5, 0.3, -0.2])),
        translation=torch.tensor([1.0, 2.0, -3.0]),
        scale=3.0,
    )
    return replace(plane_scene, world_from_scene=world)


def test_up_of_level_cameras_that_look_down():
    poses = torch.eye(4).repeat(3, 1, 1)
    for view in range(3):
        turn = so3_exp(torch.tensor([0.0, 0.5 * view, 0.0]))
        poses[view, :3, :3] = turn @ so3_exp(torch.tensor([-0.4, 0.0, 0.0]))
    cameras = Cameras(camera_to_world=poses, K=torch.eye(3).repeat(3, 1, 1), width=4, height=4)
    torch.testing.assert_close(
        estimate_up(cameras), torch.tensor([0.0, -1.0, 0.0]), atol=1e-4, rtol=0
    )


def test_level_cameras_that_look_down_stand_upright(plane_scene):
    pitch = so3_exp(torch.tensor([-0.4, 0.0, 0.0]))
    poses = plane_scene.cameras.camera_to_world.clone()
    poses[:, :3, :3] = torch.stack([so3_exp(torch.tensor([0.0, t, 0.0])) for t in (0, 0.5, 1)])
    poses[:, :3, :3] = pitch.mT @ poses[:, :3, :3] @ pitch  # view 0 stays the identity
    cameras = replace(plane_scene.cameras, camera_to_world=poses)
    scene = stand_upright(replace(plane_scene, cameras=cameras), "cameras")
    turned = apply_sim3_to_cameras(scene.world_from_scene, scene.cameras).camera_to_world
    # In the world the right of every picture is level, and all look down by 0.4 radians.
    torch.testing.assert_close(turned[:, 1, 0], torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned[:, 1, 2], torch.full((3,), math.sin(0.4)), atol=1e-4, rtol=0)
    # The heading stays: the first still looks along z.
    assert abs(float(turned[0, 0, 2])) < 1e-4


@pytest.mark.parametrize("photo", [0, 2])
def test_a_photo_that_is_upright_tells_up(tilted, photo):
    scene = stand_upright(tilted, "photo", photo)
    turned = apply_sim3_to_cameras(scene.world_from_scene, scene.cameras).camera_to_world
    torch.testing.assert_close(-turned[photo, :3, 1], UP, atol=1e-5, rtol=0)
    torch.testing.assert_close(scene.world_from_scene.rotation @ scene.up, UP, atol=1e-5, rtol=0)
    assert scene.world_from_scene.scale == pytest.approx(3)


@pytest.mark.parametrize("axis", AXES)
def test_an_axis_of_the_users_world_points_up(tilted, axis):
    scene = stand_upright(tilted, axis)
    turn = scene.world_from_scene.rotation @ tilted.world_from_scene.rotation.mT
    torch.testing.assert_close(turn @ torch.tensor(AXES[axis]), UP, atol=1e-5, rtol=0)
    # The world turns about its own origin.
    torch.testing.assert_close(
        scene.world_from_scene.translation, turn @ tilted.world_from_scene.translation
    )


def test_keep_keeps_and_wrong_choices_are_said(tilted):
    assert stand_upright(tilted, "keep") is tilted
    with pytest.raises(InputError, match="Up 'north' is unknown"):
        stand_upright(tilted, "north")
    with pytest.raises(InputError, match="photo that is upright is 4; expected between 1 and 3"):
        stand_upright(tilted, "photo", 3)


def test_the_smallest_rotation_is_no_larger_than_the_angle():
    start = torch.nn.functional.normalize(torch.tensor([0.3, -0.8, 0.4]), dim=0)
    for goal in (UP, -start, start, torch.tensor([0.0, 0.0, 1.0])):
        rotation = smallest_rotation(start, goal)
        torch.testing.assert_close(rotation @ start, goal, atol=1e-6, rtol=0)
        torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3), atol=1e-6, rtol=0)
        assert float(torch.linalg.det(rotation)) > 0
        assert float(rotation.trace()) == pytest.approx(1 + 2 * float(start @ goal), abs=1e-5)
