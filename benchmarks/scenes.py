"""Random Gaussians of a fixed recipe, so that figures of different machines compare."""

import math

import torch

from reconx.types import Cameras, Gaussians

KINDS = ("random", "surface")


def make_gaussians(
    count: int, width: int, height: int, *, kind: str, sigma_px: float = 1.5, seed: int = 0
) -> tuple[Gaussians, Cameras]:
    """Gaussians that fill one camera's picture.

    Args:
        count: How many.
        width: Pixels; the focal length is 0.9 of it.
        height: Pixels.
        kind: "random" fills depths 2 to 6; "surface" lies on one wavy sheet with a little noise,
            as Gaussians do that start from a pointmap.
        sigma_px: Median standard deviation on the screen; log-normal with 0.5 per axis.
        seed: Of everything.
    """
    generator = torch.Generator().manual_seed(seed)
    focal = 0.9 * width
    x = (1.1 * torch.rand(count, generator=generator) - 0.05) * width
    y = (1.1 * torch.rand(count, generator=generator) - 0.05) * height
    z = 2 + 4 * torch.rand(count, generator=generator)
    if kind == "surface":
        sheet = 3.5 + 0.8 * torch.sin(5 * x / width) * torch.cos(4 * y / height)
        z = sheet + 0.02 * torch.randn(count, generator=generator)
    spread = 0.5 * torch.randn(count, 3, generator=generator)
    gaussians = Gaussians(
        means=torch.stack([(x - width / 2) / focal * z, (y - height / 2) / focal * z, z], dim=-1),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        scales=torch.exp(math.log(sigma_px) + spread) * (z / focal)[:, None],
        opacities=0.05 + 0.9 * torch.rand(count, generator=generator),
        sh=torch.rand(count, 1, 3, generator=generator),
    )
    angle = 0.1
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = math.cos(angle)
    pose[2, 0], pose[0, 2] = math.sin(angle), -math.sin(angle)
    pose[:3, 3] = torch.tensor([0.3, 0.05, -0.1])
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return gaussians, Cameras(camera_to_world=pose[None], K=K[None], width=width, height=height)
