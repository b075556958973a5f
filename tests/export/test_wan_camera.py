import pytest
import torch

from reconx.errors import InputError
from reconx.export.wan_camera import wan_camera_embedding
from reconx.ops.se3 import so3_exp
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.types import Cameras, Sim3


def dolly(count: int = 5, width: int = 32, height: int = 16) -> Cameras:
    """A camera that goes one unit to its right with each frame."""
    poses = torch.eye(4).repeat(count, 1, 1)
    poses[:, 0, 3] = torch.arange(count).float()
    K = torch.tensor([[20.0, 0, 16.5], [0, 25, 8.5], [0, 0, 1]]).repeat(count, 1, 1)
    return Cameras(camera_to_world=poses, K=K, width=width, height=height)


def test_rays_lie_where_the_model_looks_for_them() -> None:
    embedding = wan_camera_embedding(dolly())
    assert embedding.shape == (1, 24, 2, 16, 32)
    coordinates = embedding[0].unflatten(0, (6, 4))
    moment, direction = coordinates[:3], coordinates[3:]
    # The pixel whose centre (16.5, 8.5) is the principal point looks straight ahead.
    assert torch.equal(
        direction[:, :, :, 8, 16], torch.tensor([0, 0, 1.0])[:, None, None].expand(3, 4, 2)
    )
    # (frame, 0, 0) x (0, 0, 1) = (0, -frame, 0); frame 0 four times, then frames 1 to 4.
    expected = torch.tensor([[0.0, -1], [0, -2], [0, -3], [0, -4]])
    assert torch.equal(moment[1, :, :, 8, 16], expected)
    # One pixel to the right and two down, before normalisation: (1 / 20, 2 / 25, 1).
    ray = torch.nn.functional.normalize(torch.tensor([1 / 20, 2 / 25, 1.0]), dim=0)
    assert torch.allclose(direction[:, 3, 1, 10, 17], ray)


def test_only_motion_relative_to_the_first_camera_counts() -> None:
    elsewhere = Sim3(
        rotation=so3_exp(torch.tensor([0.5, -1.0, 0.3])),
        translation=torch.tensor([3.0, -2.0, 7.0]),
        scale=2.0,
    )
    moved = wan_camera_embedding(apply_sim3_to_cameras(elsewhere, dolly()), motion_scale=0.5)
    assert torch.allclose(moved, wan_camera_embedding(dolly()), atol=1e-5)


@pytest.mark.parametrize(
    ("cameras", "text"),
    [
        (dolly(count=6), r"takes 4k\+1 frames; the path has 6"),
        (dolly(width=40), "multiples of 16; the path has 40 x 16"),
    ],
)
def test_what_the_model_cannot_take_is_said(cameras: Cameras, text: str) -> None:
    with pytest.raises(InputError, match=text):
        wan_camera_embedding(cameras)
