"""Gaussians in the user's world, seen from a camera path."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..ops.sim3 import apply_sim3_to_gaussians
from ..progress import Progress
from ..render.gaussians import render_gaussians
from ..render.rasterizers.base import Rasterized
from ..trajectory.options import CameraPath
from ..types import Gaussians
from .threads import one_torch_thread


@torch.no_grad()
def film_gaussians(
    gaussians: Gaussians,
    path: CameraPath,
    *,
    background: Float[Tensor, "3"] | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Rasterized:
    """Draw Gaussians from every camera of a path.

    Drawn in the scene's frame, where the nearest depth that is drawn suits the scene whatever the
    world's units are.

    Args:
        gaussians: In the user's world, as files and other programs hold them.
        path: In the scene's frame; leads to the world itself.
        background: Shown where no Gaussian covers; None is black.
        device: Torch device of the work.
        progress: Told after every frame; may raise to stop.

    Returns:
        Colour, alpha and depth per frame, on the CPU; depth in scene units.
    """
    scene_gaussians = apply_sim3_to_gaussians(path.world_from_scene.inverse(), gaussians)
    if background is not None:
        background = background.to(device)
    with one_torch_thread(device):
        drawn = render_gaussians(
            scene_gaussians.to(device),
            path.cameras.to(device),
            background=background,
            progress=progress,
        )
    return Rasterized(*(part.cpu() for part in drawn))
