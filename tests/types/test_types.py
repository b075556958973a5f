import dataclasses

import pytest
import torch

from reconx.checks import check_choice, check_range, check_shape
from reconx.errors import InputError, ReconXError
from reconx.types import Cameras, Gaussians, Photos


def make_cameras(count: int = 3) -> Cameras:
    K = torch.eye(3).expand(count, 3, 3)
    return Cameras(camera_to_world=torch.eye(4).repeat(count, 1, 1), K=K, width=8, height=6)


def test_selecting_views_keeps_them_batched() -> None:
    cameras = make_cameras()
    assert len(cameras[1]) == 1
    assert len(cameras[[0, 2]]) == 2
    assert len(cameras[:2]) == 2


def test_joining_cameras_needs_one_size() -> None:
    cameras = make_cameras()
    assert len(Cameras.concatenate([cameras, cameras])) == 6
    with pytest.raises(InputError, match="sizes"):
        Cameras.concatenate([cameras, cameras.resized(4, 3)])


def test_types_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_cameras().width = 3  # type: ignore[misc]


def test_photo_names_must_be_unique() -> None:
    with pytest.raises(InputError, match="repeat"):
        Photos(
            images=torch.zeros(2, 4, 4, 3),
            valid=torch.ones(2, 4, 4, dtype=torch.bool),
            names=("a.jpg", "a.jpg"),
            original_sizes=((4, 4), (4, 4)),
            to_original=torch.eye(3).repeat(2, 1, 1),
        )


def test_gaussians_take_whole_degrees_only() -> None:
    with pytest.raises(InputError, match="1, 4, 9 or 16"):
        Gaussians(
            means=torch.zeros(2, 3),
            quats=torch.zeros(2, 4),
            scales=torch.ones(2, 3),
            opacities=torch.ones(2),
            sh=torch.zeros(2, 5, 3),
        )


def test_checks_name_value_and_expectation() -> None:
    with pytest.raises(InputError, match=r"Frames is 0; expected at least 2"):
        check_range("Frames", 0, 2)
    with pytest.raises(InputError, match=r"400; expected between 1 and 179"):
        check_range("Field of view", 400, 1, 179)
    with pytest.raises(InputError, match="nan"):
        check_range("Strength", float("nan"), 0)
    with pytest.raises(InputError, match="'x' is unknown. Choose one of: a, b"):
        check_choice("Backbone", "x", ("a", "b"))
    with pytest.raises(InputError, match=r"shape \(2, 3\); expected \(any, 4\)"):
        check_shape("Points", torch.zeros(2, 3), None, 4)
    assert issubclass(InputError, ReconXError)
    assert issubclass(InputError, ValueError)
