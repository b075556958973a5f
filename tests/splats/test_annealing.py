from dataclasses import replace

import pytest
import torch

from reconx.splats.annealing import annealed_weight, distances_to_photos
from reconx.types import Cameras


def cameras_at(*x: float) -> Cameras:
    poses = torch.eye(4).repeat(len(x), 1, 1)
    poses[:, 0, 3] = torch.tensor(x)
    return Cameras(camera_to_world=poses, K=torch.eye(3).repeat(len(x), 1, 1), width=4, height=3)


def test_known_weights():
    assert annealed_weight(0.5, 15.0, 0.0) == 1
    assert annealed_weight(0.0, 15.0, 1.0) == 1
    assert annealed_weight(0.5, 15.0, 1.0) == pytest.approx(0.0235177, rel=1e-5)
    assert annealed_weight(0.5, 15.0, 0.5) == pytest.approx(0.1533550, rel=1e-5)
    assert annealed_weight(0.5, 0.0, 1.0) == 1


def test_distances_count_in_radii_of_all_cameras():
    photos, frames = cameras_at(0.0, 4.0), cameras_at(0.0, 1.0, 2.0, 3.0, 4.0)
    expected = torch.tensor([0.0, 0.5, 1.0, 0.5, 0.0])
    torch.testing.assert_close(distances_to_photos(photos, frames), expected)


def test_distances_do_not_change_with_scale_or_shift():
    photos, frames = cameras_at(0.0, 4.0), cameras_at(0.5, 1.7)
    moved = [
        replace(cameras, camera_to_world=cameras.camera_to_world.clone())
        for cameras in (photos, frames)
    ]
    for cameras in moved:
        cameras.camera_to_world[:, :3, 3] = 7 * cameras.camera_to_world[:, :3, 3] + 3
    torch.testing.assert_close(distances_to_photos(*moved), distances_to_photos(photos, frames))


def test_cameras_in_one_place_have_no_distance():
    assert distances_to_photos(cameras_at(1.0), cameras_at(1.0, 1.0)).tolist() == [0, 0]
