import torch

from reconx.evaluation.refine import refine_camera
from reconx.ops.metrics import psnr
from reconx.ops.se3 import rotation_angle_degrees, se3_exp
from reconx.ops.sh import colour_to_sh
from reconx.render.gaussians import render_gaussians
from reconx.types import Cameras, Gaussians


def textured_wall(side: int = 60) -> Gaussians:
    """A wavy wall of Gaussians at depth 2 to 3 with a smooth, non-repeating colour."""
    grid = torch.linspace(-1.6, 1.6, side)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    x, y = x.flatten(), y.flatten()
    z = 2.5 + 0.4 * torch.sin(2 * x) * torch.cos(1.5 * y)
    phases = torch.tensor([0.0, 1.0, 2.0])
    colour = 0.5 + 0.3 * torch.sin((5 * x + 3 * x * y)[:, None] + phases)
    colour = colour + 0.15 * torch.cos((7 * y - 2 * x * x)[:, None] + phases)
    count = len(x)
    return Gaussians(
        means=torch.stack([x, y, z], dim=-1),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        scales=torch.full((count, 3), 0.04),
        opacities=torch.full((count,), 0.9),
        sh=colour_to_sh(colour)[:, None],
    )


def test_a_shifted_camera_finds_its_photo() -> None:
    wall = textured_wall()
    K = torch.tensor([[[110.0, 0, 64], [0, 110, 48], [0, 0, 1]]])
    truth = Cameras(camera_to_world=torch.eye(4)[None], K=K, width=128, height=96)
    photo = render_gaussians(wall, truth).colour[0]
    # Two degrees and 0.05 at depth 2.5: several pixels off.
    offset = se3_exp(torch.tensor([[0.02, -0.03, 0.01, 0.05, -0.03, 0.04]]))
    start = Cameras(camera_to_world=offset, K=K, width=128, height=96)
    valid = torch.ones(96, 128, dtype=torch.bool)

    found = refine_camera(lambda cameras: render_gaussians(wall, cameras), start, photo, valid)

    before = psnr(render_gaussians(wall, start).colour[0], photo)
    after = psnr(render_gaussians(wall, found).colour[0], photo)
    assert after > before + 20
    assert float(rotation_angle_degrees(found.camera_to_world[0, :3, :3])) < 0.05
    assert float(found.centers.norm()) < 0.005
