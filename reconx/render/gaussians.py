"""Gaussians -> pictures: the one call between the types and the rasterizers.

Owns the evaluation of view-dependent colours; projection and blending lie in `rasterizers/`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_range
from ..ops.sh import sh_to_colours
from ..progress import Progress, SilentProgress
from ..types import Cameras, Gaussians
from .rasterizers.base import Rasterized, Rasterizer
from .rasterizers.registry import make_rasterizer


def render_gaussians(
    gaussians: Gaussians,
    cameras: Cameras,
    *,
    rasterizer: Rasterizer | None = None,
    background: Float[Tensor, "3"] | None = None,
    antialiased: bool = False,
    progress: Progress | None = None,
) -> Rasterized:
    """Draw Gaussians from every camera.

    Differentiable in the tensors of the Gaussians, the cameras and the background.

    Args:
        gaussians: In the cameras' world.
        cameras: OpenCV axes.
        rasterizer: None takes the fastest one for the Gaussians' device.
        background: Shown where no Gaussian covers; None is black.
        antialiased: See `Rasterizer`; must be what the Gaussians were fitted with.
        progress: Told after every view; may raise to stop.

    Raises:
        InputError: If there is no camera, or the tensors do not fit together.
    """
    check_range("Number of cameras", len(cameras), 1)
    draw = rasterizer or make_rasterizer("auto", gaussians.means.device)
    task = (progress or SilentProgress()).start("Rendering Gaussians", len(cameras))
    views = []
    for index in range(len(cameras)):
        camera = cameras[index]
        colours = sh_to_colours(gaussians.sh, gaussians.means, camera.centers)
        drawn = draw(
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            colours,
            camera.viewmats,
            camera.K,
            cameras.width,
            cameras.height,
            antialiased=antialiased,
            background=background,
        )
        views.append(drawn)
        task.update(index + 1)
    if len(views) == 1:  # As in every step of a fit: nothing to copy.
        return views[0]
    return Rasterized(*(torch.cat(parts) for parts in zip(*views, strict=True)))
