"""Where the pixels of one camera show in others, if what they show stands at one depth.

The parts of a plane sweep (Collins 1996); what is compared there is the caller's part.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ...ops.projection import camera_rays, inside_image
from ...types import Cameras

MARGIN = 1.5
"""Surfaces of holes may lie this factor outside the depths of the scene's points."""


def choose_inverse_depths(depths: Float[Tensor, " n"], count: int) -> list[float]:
    """Inverse depths that surfaces of holes may have, nearest last.

    Args:
        depths: Of the scene's points.
        count: How many are tried, evenly spread.
    """
    step = -(-len(depths) // 1_000_000)  # torch.quantile takes at most 16 million values
    near, far = torch.quantile(depths[::step], torch.tensor([0.01, 0.99])).tolist()
    return torch.linspace(1 / (far * MARGIN), MARGIN / near, count).tolist()


def plane_maps(
    camera: Cameras, others: Cameras
) -> tuple[Float[Tensor, "n h w 3"], Float[Tensor, "n 1 1 3"]]:
    """Homogeneous pixels of other cameras: the first at infinity, the second per inverse depth."""
    relative = others.viewmats @ camera.camera_to_world
    turned = others.K @ relative[:, :3, :3]
    far = torch.einsum("nij,hwj->nhwi", turned, camera_rays(camera)[0])
    shift = (others.K @ relative[:, :3, 3:])[..., 0]
    size = torch.tensor([others.width, others.height, 1.0]).to(far)
    return far / size, (shift / size)[:, None, None]


def places_on_plane(
    far: Float[Tensor, "n h w 3"], shift: Float[Tensor, "n 1 1 3"], inverse: float
) -> tuple[Float[Tensor, "n h w 2"], Bool[Tensor, "n h w"]]:
    """Where a plane at a depth shows, in shares of the picture, and whether it does."""
    place = far + inverse * shift
    z = place[..., 2:]
    pixels = place[..., :2] / z.clamp_min(1e-6)
    return pixels, (z[..., 0] > 1e-6) & inside_image(pixels, 1, 1)


def look_up(
    planes: Float[Tensor, "n channel h w"],
    places: Float[Tensor, "n rows columns 2"],
    mode: str = "bilinear",
) -> Float[Tensor, "n channel rows columns"]:
    """Look pictures up at places in shares of their size; the border continues outside."""
    return functional.grid_sample(
        planes, 2 * places - 1, mode=mode, padding_mode="border", align_corners=False
    )
