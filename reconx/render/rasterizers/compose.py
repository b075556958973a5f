"""What rasterizers share before and after blending: check the inputs, finish the pictures.

Owns no projection and no blending; those differ per backend.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...checks import check_range, check_shape
from ...errors import InputError
from .base import Rasterized

ALPHA_MAX = 0.999
"""One Gaussian never hides what lies behind it altogether, so gradients reach it."""
ALPHA_MIN = 1 / 255
"""Contributions below this change no 8-bit picture and are skipped."""
TRANSMITTANCE_MIN = 1e-4
"""A pixel ends before the Gaussian that would leave less than this."""
CLAMP_MARGIN = 0.15
"""How far outside the image, in image sizes, the projection's Jacobian is taken at most."""


def check_scene(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    eps2d: float,
    background: Tensor | None,
) -> None:
    """Require that all tensors speak of the same Gaussians and views, on one device, in one dtype.

    Raises:
        InputError: Naming the tensor that does not fit.
    """
    count, views = len(means), len(viewmats)
    check_shape("means", means, None, 3)
    check_shape("quats", quats, count, 4)
    check_shape("scales", scales, count, 3)
    check_shape("opacities", opacities, count)
    check_shape("viewmats", viewmats, None, 4, 4)
    check_shape("colors", colors, views, count, 3)
    check_shape("Ks", Ks, views, 3, 3)
    check_range("Image width", width, 1)
    check_range("Image height", height, 1)
    check_range("eps2d", eps2d, 0)
    named = {
        "quats": quats,
        "scales": scales,
        "opacities": opacities,
        "colors": colors,
        "viewmats": viewmats,
        "Ks": Ks,
    }
    if background is not None:
        check_shape("background", background, 3)
        named["background"] = background
    for name, tensor in named.items():
        if tensor.dtype != means.dtype or tensor.device != means.device:
            raise InputError(
                f"{name} is {tensor.dtype} on {tensor.device}, but means is {means.dtype} on "
                f"{means.device}. Bring all of the rasterizer's tensors to one dtype and device."
            )


def finish_pictures(
    blended: Float[Tensor, "view height width 5"], background: Float[Tensor, "3"] | None
) -> Rasterized:
    """Put the background behind and turn summed z into depth.

    Args:
        blended: Sums over a pixel's Gaussians of weight times (r, g, b, z, 1).
        background: None is black.
    """
    # One split: its gradient is written once, where every slice would fill a whole picture.
    colour, weighted_z, alpha = blended.split([3, 1, 1], dim=-1)
    weighted_z, alpha = weighted_z.squeeze(-1), alpha.squeeze(-1)
    if background is not None:
        colour = colour + (1 - alpha)[..., None] * background
    covered = alpha > 0
    # The inner where keeps 0 / 0, whose gradient is NaN even when masked, from ever arising.
    depth = torch.where(covered, weighted_z, 0) / torch.where(covered, alpha, 1)
    return Rasterized(colour=colour, alpha=alpha, depth=depth)
