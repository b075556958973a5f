import math
from dataclasses import replace

import pytest
import torch

from reconx.ops.metrics import psnr
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.render.cloud import PointCloud, scene_cloud, surface_facing
from reconx.render.points import render_points, render_scene
from reconx.types import CONFIDENT, FILLED, Cameras, Scene, Sim3


def patch(z: float, colour: float, side: int = 40, confidence: float = 10.0) -> PointCloud:
    """A square grid of points that faces the camera, one pixel apart for a focal length of 40."""
    steps = (torch.arange(side) + 0.5 - side / 2) / 40
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    points = torch.stack([x * z, y * z, torch.full_like(x, z)], dim=-1).reshape(-1, 3)
    count = len(points)
    tangents = torch.tensor([[z / 40, 0, 0], [0, z / 40, 0]]).expand(count, 2, 3)
    return PointCloud(
        points=points,
        colours=torch.full((count, 3), colour),
        confidence=torch.full((count,), confidence),
        tangents=tangents,
        photo_index=torch.zeros(count, dtype=torch.long),
    )


def join(*clouds: PointCloud) -> PointCloud:
    names = PointCloud.__dataclass_fields__
    return PointCloud(**{name: torch.cat([getattr(c, name) for c in clouds]) for name in names})


def camera(z: float = 0.0, turn_degrees: float = 0.0, roll_degrees: float = 0.0) -> Cameras:
    pose = torch.eye(4)
    pose[:3, :3] = so3_exp(torch.tensor([0.0, math.radians(turn_degrees), 0.0])) @ so3_exp(
        torch.tensor([0.0, 0.0, math.radians(roll_degrees)])
    )
    pose[2, 3] = z
    K = torch.tensor([[40.0, 0, 20], [0, 40, 20], [0, 0, 1]])
    return Cameras(camera_to_world=pose[None], K=K[None], width=40, height=40)


def test_a_photo_is_given_back_from_its_own_camera(plane_scene: Scene) -> None:
    cloud = scene_cloud(plane_scene)
    for i in range(3):
        own = render_points(cloud.select(cloud.photo_index == i), plane_scene.cameras[i])
        assert not own.hole.any()
        assert torch.equal(own.colour[0], plane_scene.photos.images[i])
        z = plane_scene.points[i] @ plane_scene.cameras.viewmats[i, 2, :3]
        assert torch.allclose(own.depth[0], z + plane_scene.cameras.viewmats[i, 2, 3], atol=1e-5)


def test_another_photo_is_predicted_where_it_was_seen(plane_scene: Scene) -> None:
    cloud = scene_cloud(plane_scene)
    seen = render_points(cloud.select(cloud.photo_index != 0), plane_scene.cameras[0])
    known = ~seen.hole[0]
    assert known.float().mean() > 0.9
    # A wave of the texture spans about 15 pixels and points lie up to half a pixel off.
    assert psnr(seen.colour[0], plane_scene.photos.images[0], known) > 22


def test_the_nearer_surface_hides_the_farther_in_any_order() -> None:
    near, far = patch(1.0, 0.2, side=20), patch(2.0, 0.8)
    for cloud in (join(near, far), join(far, near)):
        drawn = render_points(cloud, camera())
        assert drawn.colour[0, 20, 20, 0] == pytest.approx(0.2)
        assert drawn.colour[0, 2, 2, 0] == pytest.approx(0.8)
        assert drawn.depth[0, 20, 20] == pytest.approx(1.0)
        assert drawn.depth[0, 2, 2] == pytest.approx(2.0)


@pytest.mark.parametrize("view", [{"z": 0.6}, {"z": 0.35, "roll_degrees": 30.0}, {"z": 0.11}])
def test_a_surface_seen_from_closer_does_not_let_the_back_through(view: dict) -> None:
    drawn = render_points(join(patch(1.0, 0.2), patch(2.0, 0.8)), camera(**view))
    assert not drawn.hole[0, 10:30, 10:30].any()
    assert (drawn.colour[0, 10:30, 10:30] == 0.2).all()


def test_a_turned_picture_has_no_cracks() -> None:
    drawn = render_points(patch(1.0, 0.2, side=80), camera(roll_degrees=33.0))
    assert not drawn.hole.any()


def test_a_surface_seen_from_behind_is_a_hole() -> None:
    behind = camera(z=2.0, turn_degrees=180.0)
    drawn = render_points(patch(1.0, 0.2), behind)
    assert drawn.hole.all()
    # It still hides what lies beyond it.
    beyond = replace(patch(0.5, 0.8, side=10), tangents=patch(0.5, 0.8, side=10).tangents.flip(1))
    alone = render_points(beyond, behind)
    assert not alone.hole[0, 20, 20]
    assert render_points(join(patch(1.0, 0.2), beyond), behind).hole[0, 20, 20]


def test_an_uncertain_surface_is_a_hole() -> None:
    drawn = render_points(join(patch(1.0, 0.2, confidence=2.9), patch(2.0, 0.8)), camera())
    assert drawn.hole.all()
    assert (drawn.confidence == 1).all()
    assert (drawn.colour == 0).all()


def test_holes_hold_nothing() -> None:
    drawn = render_points(patch(1.0, 0.2, side=20), camera())
    assert drawn.hole[0, 0, 0]
    assert not drawn.hole[0, 20, 20]
    assert (drawn.depth[drawn.hole] == 0).all()
    assert (drawn.confidence[~drawn.hole] == 10).all()
    assert int((~drawn.hole).sum()) == 20 * 20


@pytest.mark.parametrize("gap", [1, 2, 4])
def test_gaps_of_one_or_two_pixels_close(gap: int) -> None:
    cloud = patch(1.0, 0.2)
    column = (cloud.points[:, 0] * 40 + 20).floor()
    drawn = render_points(cloud.select((column < 18) | (column >= 18 + gap)), camera())
    assert bool(drawn.hole.any()) == (gap > 2)


def test_nothing_in_view_is_all_hole() -> None:
    drawn = render_points(patch(1.0, 0.2), camera(z=5.0))
    assert drawn.hole.all()
    assert drawn.colour.shape == (1, 40, 40, 3)


def test_filled_points_stay_out_of_the_cloud(plane_scene: Scene) -> None:
    confidence = plane_scene.confidence.clone()
    confidence[:, :10] = FILLED
    scene = replace(plane_scene, confidence=confidence)
    cloud = scene_cloud(scene)
    assert len(cloud) == 3 * 62 * 96
    assert (cloud.confidence >= CONFIDENT).all()
    assert len(scene_cloud(scene, min_confidence=1.0)) == 3 * 72 * 96


def test_normals_face_the_photo_that_saw_them(plane_scene: Scene) -> None:
    cloud = scene_cloud(plane_scene)
    for i in range(3):
        own = cloud.select(cloud.photo_index == i)
        assert surface_facing(own.points, own.tangents, plane_scene.cameras.centers[i]).min() > 0
    offset = cloud.points @ torch.tensor([0.25, -0.35, 1.0])
    plane = (offset - offset.median()).abs() < 1e-3
    normal = torch.linalg.cross(cloud.tangents[plane, 0], cloud.tangents[plane, 1])
    true = torch.tensor([0.25, -0.35, 1.0])
    close = torch.cosine_similarity(normal, true.expand_as(normal), dim=-1) > 0.999
    # Beside the box and at the border, points are taken to face the camera.
    assert close.float().mean() > 0.75


def test_a_similarity_changes_nothing(plane_scene: Scene) -> None:
    similarity = Sim3(
        rotation=so3_exp(torch.tensor([0.0, math.radians(90), 0.0])),
        translation=torch.tensor([1.0, 2.0, -1.0]),
        scale=2.0,
    )
    moved = replace(
        plane_scene,
        cameras=apply_sim3_to_cameras(similarity, plane_scene.cameras),
        points=apply_sim3_to_points(similarity, plane_scene.points),
    )
    here = render_scene(plane_scene, plane_scene.cameras[1])
    there = render_scene(moved, moved.cameras[1])
    same = (here.colour == there.colour).all(-1) & (here.hole == there.hole)
    # Rounding moves a few points of the other photos across a pixel's border.
    assert same.float().mean() > 0.97


def test_the_same_call_gives_the_same_bytes(plane_scene: Scene) -> None:
    first, second = (render_scene(plane_scene, plane_scene.cameras) for _ in range(2))
    assert torch.equal(first.colour, second.colour)
    assert torch.equal(first.depth, second.depth)
