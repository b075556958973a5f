"""Depth by agreement with neighbours, on a scene whose depth is exact."""

import torch
from torch import Tensor

from reconx.splats.confidence.planes import choose_inverse_depths
from reconx.splats.confidence.sweep import sweep_depth
from reconx.splats.placing import view_depths
from reconx.types import Scene


def swept(scene: Scene, images: Tensor, weight: Tensor, wanted: Tensor) -> Tensor:
    """Depth of photo 0 by the others."""
    planes = torch.cat([images, weight[..., None]], dim=-1).permute(0, 3, 1, 2)
    cameras, depths = scene.photo_cameras, view_depths(scene)
    tried = choose_inverse_depths(depths.flatten(), 64)
    return sweep_depth(planes[0, :3], wanted, cameras[0], planes[1:], cameras[1:], tried)


def test_texture_tells_depth(plane_scene: Scene) -> None:
    images, weight = plane_scene.photos.images, plane_scene.photos.valid.float()
    wanted = torch.zeros_like(plane_scene.valid[0])
    wanted[10:60, 20:80] = True
    found = swept(plane_scene, images, weight, wanted)
    told = found.isfinite()
    assert not told[~wanted].any()
    assert float(told[wanted].float().mean()) > 0.6
    error = (found / view_depths(plane_scene)[0] - 1).abs()[told]
    assert float(error.median()) < 0.02
    assert float((error > 0.1).float().mean()) < 0.05


def test_what_has_no_texture_or_no_witness_has_no_depth(plane_scene: Scene) -> None:
    weight = plane_scene.photos.valid.float()
    everywhere = torch.ones_like(plane_scene.valid[0])
    grey = torch.full_like(plane_scene.photos.images, 0.5)
    assert not swept(plane_scene, grey, weight, everywhere).isfinite().any()
    images = plane_scene.photos.images
    assert not swept(plane_scene, images, torch.zeros_like(weight), everywhere).isfinite().any()
