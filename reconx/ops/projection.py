"""Between pixels, rays and points of the world."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..types import Cameras


def pixel_centres(
    width: int,
    height: int,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "height width 2"]:
    """(x, y) of every pixel's centre: 0.5, 1.5, ..."""
    x = torch.arange(width, device=device, dtype=dtype) + 0.5
    y = torch.arange(height, device=device, dtype=dtype) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def camera_rays(cameras: Cameras) -> Float[Tensor, "view height width 3"]:
    """Directions in each camera's frame, with z = 1, through every pixel's centre."""
    pixels = pixel_centres(
        cameras.width, cameras.height, device=cameras.K.device, dtype=cameras.K.dtype
    )
    pixels = functional.pad(pixels, (0, 1), value=1.0)
    return torch.einsum("vij,hwj->vhwi", torch.linalg.inv(cameras.K), pixels)


def unproject_depth(
    depth: Float[Tensor, "view height width"], cameras: Cameras
) -> Float[Tensor, "view height width 3"]:
    """Lift z-depth to world-space pointmaps.

    Args:
        depth: Distance along each camera's +Z axis, in world units. Not ray length.
        cameras: One camera per view, at the depth maps' resolution.

    Returns:
        World-space points; NaN where depth <= 0, so that a forgotten mask fails loudly.

    Raises:
        InputError: If the depth resolution differs from the cameras'.
    """
    expected = (len(cameras), cameras.height, cameras.width)
    if tuple(depth.shape) != expected:
        raise InputError(f"Depth has shape {tuple(depth.shape)}; the cameras expect {expected}.")
    depth = torch.where(depth > 0, depth, torch.nan)
    points = camera_rays(cameras) * depth[..., None]
    rotation = cameras.camera_to_world[:, :3, :3]
    return torch.einsum("vij,vhwj->vhwi", rotation, points) + cameras.centers[:, None, None]


def world_to_camera(
    points: Float[Tensor, "*batch 3"], viewmat: Float[Tensor, "4 4"]
) -> Float[Tensor, "*batch 3"]:
    """World points in one camera's frame."""
    return points @ viewmat[:3, :3].mT + viewmat[:3, 3]


def project_points(
    points: Float[Tensor, "*batch 3"], viewmat: Float[Tensor, "4 4"], K: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Pixel positions and z-depth of world points in one camera.

    Returns:
        Pixels (x, y), meaningless where z <= 0, and z.
    """
    local = world_to_camera(points, viewmat)
    z = local[..., 2]
    safe = torch.where(z.abs() > 1e-9, z, torch.full_like(z, 1e-9))
    pixels = (local / safe[..., None]) @ K.mT
    return pixels[..., :2], z


def inside_image(
    pixels: Float[Tensor, "*batch 2"], width: int, height: int
) -> Bool[Tensor, "*batch"]:
    """True for positions within [0, width) x [0, height)."""
    x, y = pixels.unbind(-1)
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)


def sample_image(
    image: Float[Tensor, "height width channel"],
    pixels: Float[Tensor, "*batch 2"],
    mode: str = "bilinear",
) -> Float[Tensor, "*batch channel"]:
    """Look an image up at pixel positions; the border continues outside.

    Args:
        image: Channels last.
        pixels: (x, y), pixel centres at +0.5.
        mode: "bilinear", "nearest" or "bicubic".
    """
    height, width, channels = image.shape
    size = torch.tensor([width, height], dtype=pixels.dtype, device=pixels.device)
    grid = (2 * pixels / size - 1).reshape(1, 1, -1, 2)
    sampled = functional.grid_sample(
        image.permute(2, 0, 1)[None], grid, mode=mode, padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].mT.reshape(*pixels.shape[:-1], channels)
