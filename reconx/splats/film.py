"""Gaussians in the user's world, seen from a camera path."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..ops.sim3 import apply_sim3_to_gaussians
from ..progress import Progress
from ..render.gaussians import render_gaussians
from ..render.rasterizers.base import Rasterized
from ..render.rasterizers.registry import choose_rasterizer, make_rasterizer
from ..render.threads import one_torch_thread
from ..render.trial import prepare_rasterizer
from ..trajectory.options import CameraPath
from ..types import Gaussians


@torch.no_grad()
def film_gaussians(
    splats: Sequence[Gaussians],
    path: CameraPath,
    *,
    background: Float[Tensor, "3"] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Rasterized:
    """Draw splats from every camera of a path, one splat after another.

    Drawn in the scene's frame, where the nearest depth that is drawn suits the scene whatever the
    world's units are.

    Args:
        splats: At least one, in the user's world, as files and other programs hold them. Each is
            filmed along the whole path.
        path: In the scene's frame; leads to the world itself.
        background: Shown where no Gaussian covers; None is black.
        device: Torch device of the work.
        progress: Told after every frame; may raise to stop.

    Returns:
        Colour in [0, 1], alpha and depth per splat and frame, on the CPU; depth in scene units.
    """
    scene_from_world, cameras = path.world_from_scene.inverse(), path.cameras.to(device)
    if background is not None:
        background = background.to(device)
    rasterizer = choose_rasterizer("auto", device)
    prepare_rasterizer(rasterizer, device, progress)
    draw = make_rasterizer(rasterizer, device)
    with one_torch_thread(device):
        films = [
            render_gaussians(
                apply_sim3_to_gaussians(scene_from_world, gaussians).to(device),
                cameras,
                rasterizer=draw,
                background=background,
                progress=progress,
            )
            for gaussians in splats
        ]
    colour, alpha, depth = (torch.cat(parts).cpu() for parts in zip(*films, strict=True))
    return Rasterized(colour=colour.clamp(0, 1), alpha=alpha, depth=depth)
