"""Scenes of a fixed recipe, so that figures of different machines compare."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from reconx.ops.projection import camera_rays
from reconx.types import Cameras, Gaussians, Photos, Scene, SceneSource, Sim3

KINDS = ("random", "surface")
RasterizerInputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""means, quats, scales, opacities, colors, viewmats, Ks."""


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


def make_inputs(
    count: int, width: int, height: int, *, kind: str, device: str = "cpu"
) -> RasterizerInputs:
    """The same as a rasterizer takes it, asking for gradients."""
    gaussians, cameras = make_gaussians(count, width, height, kind=kind)
    tensors = (
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.sh[None, :, 0].contiguous(),
        cameras.viewmats,
        cameras.K,
    )
    means, quats, scales, opacities, colors, viewmats, Ks = (
        tensor.to(device).requires_grad_() for tensor in tensors
    )
    return means, quats, scales, opacities, colors, viewmats, Ks


def make_photographed_plane(
    views: int, width: int, height: int, seed: int = 0
) -> tuple[Scene, tuple[Float[Tensor, "point 3"], ...]]:
    """A slanted, textured plane with exact pointmaps, seen by cameras side by side.

    Returns:
        The scene, all of whose pixels are measured; and per view some sparse points of it: x, y in
        pixels, and inverse depth.
    """
    generator = torch.Generator().manual_seed(seed)
    focal = 0.9 * width
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    poses = torch.eye(4).repeat(views, 1, 1)
    poses[:, 0, 3] = 0.08 * torch.arange(views)
    cameras = Cameras(camera_to_world=poses, K=K.repeat(views, 1, 1), width=width, height=height)
    normal = torch.tensor([0.2, -0.3, 1.0])
    rays = camera_rays(cameras)
    depth = (1 - cameras.centers @ normal)[:, None, None] / (rays @ normal)
    # View 0's median depth is 1, as in every scene.
    scale = 1 / float(depth[0].median())
    poses[:, :3, 3] *= scale
    points = rays * depth[..., None] * scale + poses[:, None, None, :3, 3]
    waves = 120 * torch.rand(3, 24, generator=generator) - 60
    shades = torch.rand(24, 3, generator=generator) / 12
    images = 0.5 + 0.5 * (torch.sin(points @ waves) @ (shades - 1 / 24))
    everywhere = torch.ones(images.shape[:3], dtype=torch.bool)
    photos = Photos(
        images=images.clamp(0, 1),
        valid=everywhere,
        names=tuple(f"view{i}" for i in range(views)),
        original_sizes=((width, height),) * views,
        to_original=torch.eye(3).repeat(views, 1, 1),
    )
    cameras = replace(cameras, camera_to_world=poses)
    scene = Scene(
        photos=photos,
        photo_cameras=cameras,
        cameras=cameras,
        points=points,
        confidence=torch.full(images.shape[:3], 10.0),
        valid=everywhere,
        up=torch.tensor([0.0, -1.0, 0.0]),
        world_from_scene=Sim3.identity(),
        source=SceneSource(estimator="synthetic"),
    )
    step = max(1, min(width, height) // 24)
    rows, columns = torch.meshgrid(
        torch.arange(0, height, step), torch.arange(0, width, step), indexing="ij"
    )
    anchors = []
    for view in range(views):
        inverse = 1 / (depth[view, rows, columns] * scale)
        anchors.append(torch.stack([columns + 0.5, rows + 0.5, inverse], dim=-1).flatten(0, 1))
    return scene, tuple(anchors)
