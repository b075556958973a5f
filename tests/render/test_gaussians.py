"""Rendering typed Gaussians from typed cameras."""

from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.sh import SH_C0
from reconx.render.gaussians import render_gaussians
from reconx.render.rasterizers.registry import make_rasterizer
from reconx.types import Cameras, Gaussians


@pytest.fixture
def cameras() -> Cameras:
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 3] = 0.5
    K = torch.tensor([[30.0, 0, 12], [0, 30, 10], [0, 0, 1]])
    return Cameras(camera_to_world=poses, K=K.repeat(2, 1, 1), width=24, height=20)


@pytest.fixture
def gaussians() -> Gaussians:
    """One opaque ball; its green grows towards -X."""
    sh = torch.zeros(1, 4, 3)
    sh[0, 0] = torch.tensor([0.5, -0.5, 0.3]) / SH_C0
    sh[0, 3, 1] = 1.0
    return Gaussians(
        means=torch.tensor([[0.0, 0.0, 2.0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), 0.2),
        opacities=torch.ones(1),
        sh=sh,
    )


def test_colours_follow_the_harmonics_per_view(gaussians: Gaussians, cameras: Cameras) -> None:
    drawn = render_gaussians(gaussians, cameras)
    assert drawn.colour.shape == (2, 20, 24, 3)
    # Both cameras look along +Z; the second stands 0.5 to the right, so it looks along -X a little.
    x = -0.5 / (0.5**2 + 2.0**2) ** 0.5
    green = torch.tensor([0.0, -0.4886025 * x])
    shown = torch.stack([drawn.colour[0, 9, 11], drawn.colour[1, 9, 4]])
    weight = torch.stack([drawn.alpha[0, 9, 11], drawn.alpha[1, 9, 4]])
    expected = torch.stack([torch.full((2,), 1.0), green, torch.full((2,), 0.8)], dim=-1)
    torch.testing.assert_close(shown / weight[:, None], expected, atol=1e-4, rtol=0)


def test_gradients_reach_gaussians_cameras_and_background(
    gaussians: Gaussians, cameras: Cameras
) -> None:
    means = gaussians.means.clone().requires_grad_()
    sh = gaussians.sh.clone().requires_grad_()
    poses = cameras.camera_to_world.clone().requires_grad_()
    background = torch.zeros(3, requires_grad=True)
    drawn = render_gaussians(
        replace(gaussians, means=means, sh=sh),
        replace(cameras, camera_to_world=poses),
        rasterizer=make_rasterizer("torch"),
        background=background,
    )
    drawn.colour[..., 0, :].sum().backward()
    for leaf in (sh, background):
        assert leaf.grad is not None
        assert leaf.grad.abs().max() > 0
    drawn = render_gaussians(
        replace(gaussians, means=means), replace(cameras, camera_to_world=poses)
    )
    drawn.colour[:, :, :12].sum().backward()
    for leaf in (means, poses):
        assert leaf.grad is not None
        assert leaf.grad.abs().max() > 0


def test_every_view_is_reported(gaussians: Gaussians, cameras: Cameras) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.seen: list[object] = []

        def start(self, stage: str, total: int) -> "Recorder":
            self.seen += [stage, total]
            return self

        def update(self, done: int, preview: object = None) -> None:
            self.seen.append(done)

    recorder = Recorder()
    render_gaussians(gaussians, cameras, progress=recorder)
    assert recorder.seen == ["Rendering Gaussians", 2, 1, 2]


def test_no_camera_is_an_error(gaussians: Gaussians, cameras: Cameras) -> None:
    with pytest.raises(InputError, match="Number of cameras is 0; expected at least 1"):
        render_gaussians(gaussians, cameras[[]])
