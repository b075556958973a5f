"""Dropping points and scaling the world, while the scene's own frame keeps its conventions."""

from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.geometry.transform import Ball, KnownDistance, keep_points, scale_to_distance
from reconx.ops.projection import project_points
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.types import Scene, Sim3


@pytest.fixture(scope="module")
def scene(plane_scene) -> Scene:
    """In a world of the user's, uncertain at the left, nothing in a corner."""
    confidence, valid = plane_scene.confidence.clone(), plane_scene.valid.clone()
    confidence[:, :, :40], valid[:, :6, :6] = 1.5, False
    return replace(
        plane_scene,
        confidence=torch.where(valid, confidence, 1.0),
        valid=valid,
        points=torch.where(valid[..., None], plane_scene.points, torch.nan),
        world_from_scene=Sim3(
            rotation=so3_exp(torch.tensor([0.2, -0.4, 0.1])),
            translation=torch.tensor([1.0, 2.0, -3.0]),
            scale=3.0,
        ),
    )


def world_points(scene: Scene) -> torch.Tensor:
    return apply_sim3_to_points(scene.world_from_scene, scene.points)


def assert_conventions(scene: Scene) -> None:
    torch.testing.assert_close(scene.cameras.camera_to_world[0], torch.eye(4))
    assert float(scene.points[0, ..., 2][scene.valid[0]].median()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(scene.points.isfinite().all(-1), scene.valid)
    assert (scene.confidence[~scene.valid] == 1).all()


def test_uncertain_points_go_and_the_others_stay_in_the_world(scene):
    kept = keep_points(scene, 2.0)
    assert_conventions(kept)
    assert torch.equal(kept.valid, scene.valid & (scene.confidence >= 2))
    torch.testing.assert_close(world_points(kept)[kept.valid], world_points(scene)[kept.valid])
    for name in ("cameras", "photo_cameras"):
        before = apply_sim3_to_cameras(scene.world_from_scene, getattr(scene, name))
        after = apply_sim3_to_cameras(kept.world_from_scene, getattr(kept, name))
        torch.testing.assert_close(after.camera_to_world, before.camera_to_world)


def test_points_outside_the_ball_go(scene):
    center = torch.tensor([0.1, 0.0, 1.0])
    kept = keep_points(scene, 1, Ball(center=center, radius=0.3))
    assert_conventions(kept)
    inside = (scene.points - center).norm(dim=-1) <= 0.3
    assert torch.equal(kept.valid, inside)
    assert 0.05 < inside.float().mean() < 0.95
    torch.testing.assert_close(world_points(kept)[kept.valid], world_points(scene)[kept.valid])


def test_nothing_dropped_is_the_same_scene(scene):
    assert keep_points(scene, 1.0, Ball(center=torch.zeros(3), radius=100)) is scene


def test_dropping_all_of_the_first_photo_is_said(scene):
    with pytest.raises(InputError, match=r"photo 1 \(view0.png\) is left with confidence of at"):
        keep_points(scene, 20.0)
    with pytest.raises(InputError, match=r"within radius 0.1; .* raise the radius"):
        keep_points(scene, 1.0, Ball(center=torch.zeros(3), radius=0.1))


def test_a_known_distance_becomes_true_in_the_world(scene):
    known = KnownDistance(photo=1, first=(70, 20), second=(50, 60), metres=2.5)
    scaled = scale_to_distance(scene, known)
    world = world_points(scaled)
    assert float((world[1, 20, 70] - world[1, 60, 50]).norm()) == pytest.approx(2.5, rel=1e-5)
    # About the world's origin, and the scene's own frame stays.
    growth = scaled.world_from_scene.scale / 3.0
    torch.testing.assert_close(world, growth * world_points(scene), equal_nan=True)
    assert scaled.points is scene.points


def test_pixels_are_those_of_the_original(scene):
    """An original three times as large, shrunk to the photos; and pointmaps of half their size."""
    photos = replace(
        scene.photos,
        original_sizes=((288, 216),) * 3,
        to_original=torch.diag(torch.tensor([3.0, 3.0, 1.0])).repeat(3, 1, 1),
    )
    cameras = scene.cameras.resized(48, 36)
    half = replace(
        scene,
        photos=photos,
        cameras=cameras,
        points=scene.points[:, ::2, ::2],
        confidence=scene.confidence[:, ::2, ::2],
        valid=scene.valid[:, ::2, ::2],
    )
    target = half.points[2, 10, 30]
    pixel, _ = project_points(target, half.cameras.viewmats[2], half.cameras.K[2])
    column, row = (6 * pixel).long().tolist()
    known = KnownDistance(photo=2, first=(column, row), second=(150, 200), metres=1)
    world = world_points(scale_to_distance(half, known))
    near = world[2, 200 // 6, 150 // 6]
    assert float((world[2, 10, 30] - near).norm()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((96, 10), (50, 60), r"Pixel \(96, 10\) lies outside photo 2 \(view1.png\)"),
        ((70, 20), (20, 40), r"Nothing was measured at pixel \(20, 40\) of photo 2"),
        ((70, 20), (70, 20), "show one place"),
    ],
)
def test_places_that_cannot_be_used_are_said(scene, first, second, words):
    with pytest.raises(InputError, match=words):
        scale_to_distance(scene, KnownDistance(photo=1, first=first, second=second, metres=1.0))
