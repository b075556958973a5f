"""Rays as Pluecker coordinates."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ..types import Cameras
from .projection import camera_rays


def pluecker_rays(cameras: Cameras) -> Float[Tensor, "view height width 6"]:
    """Moment (origin x direction), then unit direction, of the ray through every pixel's centre.

    Sitzmann et al. 2021, Light Field Networks. In the cameras' world.
    """
    rotation = cameras.camera_to_world[:, :3, :3]
    rays = torch.einsum("vij,vhwj->vhwi", rotation, camera_rays(cameras))
    direction = functional.normalize(rays, dim=-1)
    origin = cameras.centers[:, None, None].expand_as(direction)
    return torch.cat([torch.linalg.cross(origin, direction), direction], dim=-1)
