"""Surfaces that only frames show become places for Gaussians."""

from dataclasses import replace

import torch

from reconx.render.gaussians import render_gaussians
from reconx.splats.extending import extend_scene
from reconx.splats.placing import place_gaussians
from reconx.types import FILLED, Scene, Views

SPLIT = 56


def half_scene(scene: Scene) -> Scene:
    """The scene as if each photo ended at a column; nothing is known beyond."""
    keep = torch.zeros_like(scene.valid)
    keep[:, :, :SPLIT] = True
    return replace(
        scene,
        points=scene.points.where(keep[..., None], torch.nan),
        confidence=scene.confidence.where(keep, 1.0),
        valid=keep,
    )


def frame_at_photo(scene: Scene, confidence: float) -> Views:
    images = scene.photos.images[:1]
    return Views(
        frames=images,
        cameras=scene.photo_cameras[:1],
        confidence=torch.full(images.shape[:3], confidence),
        known=torch.zeros(images.shape[:3], dtype=torch.bool),
        photo_index=torch.tensor([-1]),
    )


def test_gaussians_stand_where_only_a_frame_shows_something(plane_scene: Scene) -> None:
    scene = half_scene(plane_scene)
    extended = extend_scene(scene, frame_at_photo(plane_scene, 10.0))
    camera = plane_scene.photo_cameras[0]
    before, after = (
        render_gaussians(place_gaussians(part), camera).alpha[0, :, SPLIT + 20 :].mean()
        for part in (scene, extended)
    )
    assert float(before) < 0.2
    assert float(after) > 0.5


def test_new_points_are_guesses_beyond_what_photos_cover(plane_scene: Scene) -> None:
    scene = half_scene(plane_scene)
    extended = extend_scene(scene, frame_at_photo(plane_scene, 10.0))
    photos = len(scene.photos)
    assert torch.equal(extended.valid[:photos], scene.valid)
    assert not extended.valid[photos, :, : SPLIT - 2].any()
    assert float(extended.confidence[photos].max()) <= FILLED
    # The plane goes on: a guess from its edge is not far off.
    there = extended.valid[photos]
    error = (extended.points[photos, ..., 2] / plane_scene.points[0, ..., 2] - 1).abs()[there]
    assert float(error.median()) < 0.2


def frames_at_photos(scene: Scene) -> Views:
    images = scene.photos.images
    return Views(
        frames=images,
        cameras=scene.photo_cameras,
        confidence=torch.full(images.shape[:3], 10.0),
        known=torch.zeros(images.shape[:3], dtype=torch.bool),
        photo_index=torch.full((len(images),), -1),
    )


def depth_errors(extended: Scene, scene: Scene) -> torch.Tensor:
    """Relative errors of the points that the first frame brought."""
    new = len(scene.photos)
    there = extended.valid[new]
    found, true = extended.points[new, ..., 2], scene.points[0, ..., 2]
    return (found / true - 1).abs()[there]


def test_other_frames_tell_the_depth_of_holes(plane_scene: Scene) -> None:
    extended = extend_scene(half_scene(plane_scene), frames_at_photos(plane_scene))
    assert float(depth_errors(extended, plane_scene).median()) < 0.02


def test_distrusted_frames_bear_no_witness(plane_scene: Scene) -> None:
    scene, views = half_scene(plane_scene), frames_at_photos(plane_scene)
    assert views.confidence is not None
    frames, confidence = views.frames.clone(), views.confidence.clone()
    frames[1:] = frames[1:].roll(12, 2)
    misled = extend_scene(scene, replace(views, frames=frames))
    confidence[1:] = 1.0
    warned = extend_scene(scene, replace(views, frames=frames, confidence=confidence))
    assert float(depth_errors(warned, plane_scene).mean()) < float(
        depth_errors(misled, plane_scene).mean()
    )


def test_distrusted_frames_and_covered_ones_add_nothing(plane_scene: Scene) -> None:
    scene = half_scene(plane_scene)
    assert extend_scene(scene, frame_at_photo(plane_scene, 1.0)) is scene
    assert extend_scene(plane_scene, frame_at_photo(plane_scene, 10.0)) is plane_scene
