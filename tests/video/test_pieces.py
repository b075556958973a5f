"""Paths in pieces: cut at photos, joined to what they were."""

import pytest
import torch

from reconx.errors import InputError
from reconx.trajectory.options import CameraPath, PathOptions
from reconx.trajectory.path import make_path
from reconx.types import Scene
from reconx.video.conditions import GREY
from reconx.video.frames import views_from_frames
from reconx.video.pieces import join_pieces, split_path


@pytest.fixture
def path(plane_scene: Scene) -> CameraPath:
    """Eight frames past the three photos."""
    return make_path(plane_scene, PathOptions(frames=8, width=96, height=64))


def test_pieces_run_from_photo_to_photo(plane_scene: Scene, path: CameraPath) -> None:
    pieces = split_path(plane_scene, path)
    assert len(pieces) == 2
    for piece, (start, end) in zip(pieces, [(0, 1), (1, 2)], strict=True):
        order = path.photo_index[path.photo_index >= 0].tolist()
        assert len(piece.cameras) % 4 == 1
        assert piece.cameras.width % 16 == piece.cameras.height % 16 == 0
        assert piece.path.photo_index[[0, -1]].tolist() == [order[start], order[end]]
        images = plane_scene.photos.images
        size = (piece.cameras.height, piece.cameras.width)
        for shown, photo in ((piece.start, order[start]), (piece.end, order[end])):
            assert shown.shape == (*size, 3)
            assert (shown.mean((0, 1)) - images[photo].mean((0, 1))).abs().max() < 0.02
        assert piece.control.known[[0, -1]].all()
        assert (piece.control.frames[~piece.control.known] == GREY).all()
    assert not all(piece.control.known.all() for piece in pieces)


def test_long_stretches_are_cut_between_photos(
    plane_scene: Scene, path: CameraPath, caplog: pytest.LogCaptureFixture
) -> None:
    pieces = split_path(plane_scene, path, max_frames=3, frame_rule="any")
    assert all(len(piece.cameras) <= 3 for piece in pieces)
    assert len(pieces) > 2
    assert "No photo stands at frame" in caplog.text


@pytest.mark.parametrize("loop", [False, True])
def test_joined_pieces_are_the_path(plane_scene: Scene, loop: bool) -> None:
    path = make_path(plane_scene, PathOptions(frames=9, width=72, height=48, loop=loop))
    pieces = split_path(plane_scene, path, max_frames=5)
    paths = [piece.path for piece in pieces]
    film, joined = join_pieces([piece.control.frames for piece in pieces], paths)
    assert len(film) == len(path)
    assert joined.loop == loop
    assert torch.equal(joined.cameras.camera_to_world, path.cameras.camera_to_world)
    assert torch.equal(joined.photo_index, path.photo_index)
    views = views_from_frames(film, plane_scene, joined)
    photos = views.photo_index[views.photo_index >= 0].tolist()
    assert sorted(photos) == [0, 1, 2]


def test_clips_that_do_not_belong_are_refused(plane_scene: Scene, path: CameraPath) -> None:
    paths = [piece.path for piece in split_path(plane_scene, path)]
    clip = torch.zeros(9, 8, 8, 3)
    with pytest.raises(InputError, match="1 clips were given for 2 pieces"):
        join_pieces([clip], paths)
    with pytest.raises(InputError, match="expected one. Sample all"):
        join_pieces([clip, torch.zeros(9, 16, 16, 3)], paths)
    with pytest.raises(InputError, match="A clip has 81 frames"):
        join_pieces([torch.zeros(81, 8, 8, 3)] * 2, paths)
