"""Confidence without weights, on a scene whose geometry and colours are exact."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reconx.progress import SilentProgress
from reconx.render.points import render_scene
from reconx.splats.confidence.agreement import (
    DOUBTED,
    LEAST,
    PROVEN,
    UNSEEN,
    AgreementSource,
)
from reconx.splats.confidence.base import ConfidenceSource, judge_views
from reconx.splats.confidence.weights import weights_from_confidence
from reconx.splats.confidence.windows import RADIUS
from reconx.types import Scene, Views


def without_photo(scene: Scene, left_out: int) -> Scene:
    kept = [view for view in range(len(scene.photos)) if view != left_out]
    photos = scene.photos
    return replace(
        scene,
        photos=replace(
            photos,
            images=photos.images[kept],
            valid=photos.valid[kept],
            names=tuple(photos.names[view] for view in kept),
            original_sizes=tuple(photos.original_sizes[view] for view in kept),
            to_original=photos.to_original[kept],
        ),
        photo_cameras=scene.photo_cameras[kept],
        cameras=scene.cameras[kept],
        points=scene.points[kept],
        confidence=scene.confidence[kept],
        valid=scene.valid[kept],
    )


def views_of(frames: Tensor, scene: Scene) -> Views:
    """Frames as if they had been generated at the scene's photos' cameras."""
    return Views(
        frames=frames,
        cameras=scene.photo_cameras[: len(frames)],
        known=torch.zeros(frames.shape[:3], dtype=torch.bool),
        photo_index=torch.full((len(frames),), -1),
    )


def weights_of(views: Views, scene: Scene) -> Tensor:
    judged = judge_views(views, scene, AgreementSource())
    assert judged.confidence is not None
    return weights_from_confidence(judged.confidence)


@pytest.fixture(scope="module")
def frame(plane_scene: Scene) -> tuple[Views, Scene, Tensor]:
    """Photo 0 as a generated frame, the other two as the scene, and what those cover."""
    scene = without_photo(plane_scene, 0)
    views = views_of(plane_scene.photos.images[:1], plane_scene)
    return views, scene, ~render_scene(scene, views.cameras).hole[0]


def test_is_a_source() -> None:
    assert isinstance(AgreementSource(), ConfidenceSource)


def test_a_clean_frame_is_as_good_as_captured_wherever_it_is_covered(
    frame: tuple[Views, Scene, Tensor],
) -> None:
    # Half the box is hidden to each photo: occlusion is no error.
    views, scene, covered = frame
    assert float((weights_of(views, scene)[0][covered] > 0.99).float().mean()) > 0.97


def test_a_wrong_patch_is_doubted_there_and_nowhere_else(
    frame: tuple[Views, Scene, Tensor],
) -> None:
    views, scene, covered = frame
    before = weights_of(views, scene)[0]
    frames = views.frames.clone()
    frames[:, 20:40, 40:60] = 1 - frames[:, 20:40, 40:60]
    after = weights_of(replace(views, frames=frames), scene)[0]
    inner, far = torch.zeros_like(covered), torch.ones_like(covered)
    inner[20 + RADIUS : 40 - RADIUS, 40 + RADIUS : 60 - RADIUS] = True
    reach = RADIUS + 1
    far[20 - reach : 40 + reach, 40 - reach : 60 + reach] = False
    assert float(after[inner & covered].mean()) < LEAST + 0.05
    # The frame's exposure is found anew, so that a few pixels elsewhere change a little.
    assert float((after - before).abs()[far & covered].mean()) < 0.005


def test_the_farther_a_frame_is_displaced_the_less_it_is_trusted(
    frame: tuple[Views, Scene, Tensor],
) -> None:
    views, scene, covered = frame
    means = []
    for pixels in (0, 2, 4, 6):
        moved = replace(views, frames=views.frames.roll(pixels, 2))
        means.append(float(weights_of(moved, scene)[0][covered].mean()))
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 0.3


def test_a_small_gain_costs_little_and_a_large_one_much(
    frame: tuple[Views, Scene, Tensor],
) -> None:
    views, scene, covered = frame
    clean, small, large = (
        float(weights_of(replace(views, frames=views.frames * gain), scene)[0][covered].mean())
        for gain in (1.0, 0.92, 0.6)
    )
    assert clean - small < 0.1
    assert large < 0.5


def test_without_captured_geometry_neighbours_bear_witness(plane_scene: Scene) -> None:
    # Only the photo's left edge keeps its points: nearly all of every frame is a hole.
    keep = torch.zeros_like(plane_scene.valid)
    keep[:, :, :4] = True
    scene = replace(plane_scene, confidence=plane_scene.confidence.where(keep, 1.0), valid=keep)
    scene = without_photo(scene, 2)
    images = plane_scene.photos.images
    views = views_of(images, plane_scene)
    hole = render_scene(scene, views.cameras).hole
    clean = weights_of(views, scene)
    assert float(clean[hole].mean()) > 0.7
    assert float(clean[0, 20:50, 30:60].mean()) > 0.7
    frames = images.clone()
    frames[0, 20:50, 30:60] = torch.tensor([1.0, 0.0, 1.0])
    wrong = weights_of(replace(views, frames=frames), scene)
    inner = wrong[0, 20 + RADIUS : 50 - RADIUS, 30 + RADIUS : 60 - RADIUS]
    assert float(inner.mean()) < LEAST + 0.05


def test_a_frame_that_has_drifted_off_is_doubted_in_holes_too(plane_scene: Scene) -> None:
    keep = torch.zeros_like(plane_scene.valid)
    keep[:, :, :40] = True
    scene = replace(plane_scene, confidence=plane_scene.confidence.where(keep, 1.0), valid=keep)
    views = views_of(plane_scene.photos.images[:1], plane_scene)
    hole = render_scene(scene, views.cameras).hole[0]
    frames = views.frames.clone()
    frames[0] = frames[0].roll(8, 0)
    right, wrong = weights_of(views, scene)[0], weights_of(replace(views, frames=frames), scene)[0]
    assert float(right[hole].mean()) > 0.8
    assert float(wrong[hole].max()) < LEAST + 0.05


def test_where_captured_geometry_is_wrong_neighbours_prove_a_frame(plane_scene: Scene) -> None:
    wrong = replace(plane_scene, points=1.3 * plane_scene.points)
    views = views_of(plane_scene.photos.images[:1], plane_scene)
    scene = without_photo(wrong, 0)
    covered = ~render_scene(scene, views.cameras).hole[0]
    assert float(weights_of(views, scene)[0][covered].mean()) > 0.9


def test_what_nobody_else_shows_is_neither_proven_nor_contradicted(
    frame: tuple[Views, Scene, Tensor],
) -> None:
    views, scene, _ = frame
    turned = views.cameras.camera_to_world.clone()
    turned[:, :3, :3] = turned[:, :3, :3] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    cameras = replace(views.cameras, camera_to_world=turned)
    expected = (UNSEEN - DOUBTED) / (PROVEN - DOUBTED)
    away = weights_of(replace(views, cameras=cameras), scene)
    torch.testing.assert_close(away, torch.full_like(away, expected))


def test_the_order_of_the_frames_changes_nothing(plane_scene: Scene) -> None:
    scene = without_photo(plane_scene, 2)
    images = plane_scene.photos.images
    views = views_of(images, plane_scene)
    order = torch.tensor([2, 0, 1])
    shuffled = replace(views, frames=images[order], cameras=views.cameras[order])
    torch.testing.assert_close(weights_of(shuffled, scene), weights_of(views, scene)[order])


def test_captured_frames_count_fully_and_are_not_judged(plane_scene: Scene) -> None:
    class Counting(SilentProgress):
        total = -1

        def start(self, stage: str, total: int) -> "Counting":
            type(self).total = total
            return self

        def update(self, done: int, preview: object = None) -> None:
            pass

    views = replace(
        views_of(plane_scene.photos.images, plane_scene), photo_index=torch.tensor([0, -1, 2])
    )
    judged = judge_views(views, plane_scene, AgreementSource(), Counting())
    assert judged.confidence is not None
    assert bool((judged.confidence[[0, 2]] == 10).all())
    assert Counting.total == 2  # one frame, by photos and by neighbours
