from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.render.points import render_scene
from reconx.trajectory.options import CameraPath, PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene
from reconx.video.fitting import fit_size
from reconx.video.frames import views_from_frames


@pytest.fixture(scope="module")
def path(plane_scene: Scene) -> CameraPath:
    return make_path(plane_scene, PathOptions(frames=7))


def test_frames_become_views_and_photos_go_back(plane_scene: Scene, path: CameraPath):
    valid = plane_scene.photos.valid.clone()
    valid[:, :, :30] = False
    scene = replace(plane_scene, photos=replace(plane_scene.photos, valid=valid))
    frames = torch.full((7, 36, 48, 3), 0.25)
    frames[2] = 1.5
    views = views_from_frames(frames, scene, path)
    assert views.frames.shape == (7, 72, 96, 3)
    assert views.confidence is None
    holes = render_scene(scene, path.cameras).hole
    for frame, photo in enumerate(path.photo_index.tolist()):
        if photo < 0:
            assert torch.equal(views.known[frame], ~holes[frame])
            assert (views.frames[frame] == (1.0 if frame == 2 else 0.25)).all()
        else:
            assert torch.equal(views.frames[frame, :, 30:], scene.photos.images[photo, :, 30:])
            assert (views.frames[frame, :, :30] == 0.25).all()
            assert views.known[frame, :, 30:].all()
    assert (path.photo_index >= 0).sum() == 3


def test_another_count_is_refused_with_both_named(plane_scene: Scene, path: CameraPath):
    with pytest.raises(InputError, match="5 frames were given for a path of 7 cameras"):
        views_from_frames(torch.zeros(5, 72, 96, 3), plane_scene, path)


def test_another_shape_is_refused_but_rounding_is_not(plane_scene: Scene, path: CameraPath):
    views_from_frames(torch.zeros(7, 64, 80, 3), plane_scene, path)
    with pytest.raises(InputError, match="Frames of 128 x 72 do not have the shape"):
        views_from_frames(torch.zeros(7, 72, 128, 3), plane_scene, path)


@pytest.mark.parametrize("multiple", [16, 64, 256])
def test_what_a_multiple_makes_of_a_size_is_taken(
    plane_scene: Scene, path: CameraPath, multiple: int
) -> None:
    narrow = replace(path, cameras=path.cameras.resized(72, 48))
    width, height = fit_size(72, 48, multiple)
    assert width * 48 < 0.9 * height * 72
    views_from_frames(torch.zeros(7, height, width, 3), plane_scene, narrow)


@pytest.mark.parametrize(("width", "height"), [(48, 48), (64, 32), (512, 512)])
def test_what_no_multiple_makes_of_a_size_is_refused(
    plane_scene: Scene, path: CameraPath, width: int, height: int
) -> None:
    narrow = replace(path, cameras=path.cameras.resized(72, 48))
    with pytest.raises(InputError, match=f"Frames of {width} x {height} do not have the shape"):
        views_from_frames(torch.zeros(7, height, width, 3), plane_scene, narrow)


def test_frames_that_overflowed_are_refused(plane_scene: Scene, path: CameraPath):
    frames = torch.zeros(7, 72, 96, 3)
    frames[2, 3, 4] = torch.nan
    with pytest.raises(InputError, match="3 of 145152 values that are not finite"):
        views_from_frames(frames, plane_scene, path)
