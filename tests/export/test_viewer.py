import math
import re
from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.export.viewer import (
    ViewerCamera,
    camera_to_viewer,
    cameras_from_viewer,
    centred_placement,
    model_placement,
    points_to_viewer,
)
from reconx.ops.projection import project_points
from reconx.ops.quaternion import quaternion_to_matrix
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_points
from reconx.types import Cameras, Scene, Sim3

MOVED = Sim3(
    rotation=so3_exp(torch.tensor([0.2, -0.7, 0.4])),
    translation=torch.tensor([1.0, 2.0, -3.0]),
    scale=2.5,
)


def rolled_camera() -> Cameras:
    """A camera with every kind of turn, roll included."""
    pose = torch.eye(4)
    pose[:3, :3] = so3_exp(torch.tensor([0.3, -0.5, 0.9]))
    pose[:3, 3] = torch.tensor([0.4, -1.2, 2.0])
    K = torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    return Cameras(camera_to_world=pose[None], K=K[None], width=640, height=480)


def test_an_upright_camera_stands_upright_in_the_viewer() -> None:
    """The world's identity camera looks along +Z, Y down; a viewer's along -Z, Y up."""
    camera = replace(rolled_camera(), camera_to_world=torch.eye(4)[None])
    seen = camera_to_viewer(camera)
    assert torch.allclose(quaternion_to_matrix(seen.quaternion), torch.eye(3), atol=1e-6)
    assert torch.allclose(seen.point_ahead(2.0), torch.tensor([0.0, 0.0, -2.0]), atol=1e-6)
    assert seen.fov_degrees == pytest.approx(math.degrees(2 * math.atan(240 / 500)))


def test_the_viewer_sees_what_the_camera_sees() -> None:
    """A world point falls on the same pixel by three.js' own arithmetic."""
    camera, point = rolled_camera(), torch.tensor([0.9, -0.8, 3.5])
    seen = camera_to_viewer(camera)
    local = quaternion_to_matrix(seen.quaternion).mT @ (points_to_viewer(point) - seen.position)
    tangent = math.tan(math.radians(seen.fov_degrees) / 2)
    # Normalised device coordinates: x right, y up, both in [-1, 1].
    ndc = local[:2] / -local[2] / torch.tensor([tangent * 640 / 480, tangent])
    pixel = (ndc * torch.tensor([1.0, -1.0]) + 1) / 2 * torch.tensor([640, 480])
    expected, z = project_points(point, camera.viewmats[0], camera.K[0])
    assert z > 0
    assert torch.allclose(pixel, expected, atol=1e-2)


@pytest.mark.parametrize("placement", [None, MOVED])
def test_a_camera_comes_back_from_the_viewer(placement: Sim3 | None) -> None:
    camera = rolled_camera()
    back = cameras_from_viewer([camera_to_viewer(camera, placement)], 640, 480, placement)
    assert torch.allclose(back.camera_to_world, camera.camera_to_world, atol=1e-5)
    assert torch.allclose(back.K, camera.K, rtol=1e-5)


def test_a_camera_goes_back_to_the_viewer() -> None:
    posed = ViewerCamera(
        position=torch.tensor([4.0, 3.0, 5.0]),
        quaternion=torch.nn.functional.normalize(torch.tensor([0.8, -0.3, 0.5, 0.1]), dim=0),
        fov_degrees=35,
        zoom=2,
    )
    again = camera_to_viewer(cameras_from_viewer([posed], 320, 200, MOVED), MOVED)
    assert torch.allclose(again.position, posed.position, atol=1e-5)
    assert torch.allclose(again.quaternion, posed.quaternion, atol=1e-6)
    # The zoom has gone into the field of view.
    tangents = [math.tan(math.radians(angle) / 2) for angle in (again.fov_degrees, 35)]
    assert tangents[0] == pytest.approx(tangents[1] / 2)


def test_a_centred_cloud_fills_the_unit_sphere(plane_scene: Scene) -> None:
    points = points_to_viewer(plane_scene.points[plane_scene.valid])
    placed = apply_sim3_to_points(centred_placement(points), points)
    assert torch.allclose(placed.amin(0), -placed.amax(0), atol=1e-5)
    assert placed.norm(dim=-1).max().item() == pytest.approx(1, abs=1e-5)


def test_a_camera_posed_over_a_centred_and_moved_cloud_arrives_in_the_world(
    plane_scene: Scene,
) -> None:
    """Its picture of the placed cloud is the world camera's picture of the world's points."""
    world = plane_scene.points[0, ::9, ::9].reshape(-1, 3)
    points = points_to_viewer(world)
    moved = model_placement(
        MOVED.translation, torch.tensor([0.5, 0.5, 0.5, 0.5]), torch.full((3,), 2.5)
    )
    placement = moved.compose(centred_placement(points))
    posed = camera_to_viewer(plane_scene.photo_cameras[1], placement)
    shown = apply_sim3_to_points(placement, points)
    local = (shown - posed.position) @ quaternion_to_matrix(posed.quaternion)
    focal = 72 / 2 / math.tan(math.radians(posed.fov_degrees) / 2)
    pixels = torch.stack([local[:, 0], -local[:, 1]], dim=-1) / -local[:, 2:] * focal
    camera = plane_scene.photo_cameras
    expected, _ = project_points(world, camera.viewmats[1], camera.K[1])
    assert torch.allclose(pixels + torch.tensor([48.0, 36.0]), expected, atol=1e-2)
    back = cameras_from_viewer([posed], 96, 72, placement)
    assert torch.allclose(back.camera_to_world[0], camera.camera_to_world[1], atol=1e-5)


def test_a_lost_principal_point_is_said(caplog: pytest.LogCaptureFixture) -> None:
    camera = rolled_camera()
    camera_to_viewer(camera)
    assert caplog.messages == []
    K = camera.K.clone()
    K[0, 0, 2] += 20
    camera_to_viewer(replace(camera, K=K))
    assert caplog.messages == [
        "A viewer camera has no principal point: the picture shifts by 20.0 pixels."
    ]


def test_an_uneven_scale_is_refused() -> None:
    text = "The model is scaled by 1, 2, 1 along x, y, z"
    with pytest.raises(InputError, match=re.escape(text)):
        model_placement(torch.zeros(3), torch.tensor([1.0, 0, 0, 0]), torch.tensor([1.0, 2.0, 1.0]))


def test_an_empty_cloud_has_no_place() -> None:
    with pytest.raises(InputError, match="holds no measured point"):
        centred_placement(torch.zeros(0, 3))
