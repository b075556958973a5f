"""How alike two pictures of one surface are, window by window. Channels first, as torch filters."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

RADIUS = 3
"""Windows are 7 pixels wide: large enough that texture agrees by chance seldom."""
SHARPNESS = 1.5
"""Exponent of the fall beyond what noise explains; 1 is the weight of a Cauchy-like loss."""


def expected_error(
    planes: Float[Tensor, "*n 3 h w"],
    seen: Float[Tensor, "*n 1 h w"],
    *,
    noise: float,
    texture_noise: float,
) -> Float[Tensor, "*n 1 h w"]:
    """Squared difference per channel that noise, exposure and small errors of depth explain.

    Args:
        planes: Pictures in [0, 1].
        seen: 1 where they show anything, else 0.
        noise: Standard deviation of colour between clean pictures of one surface.
        texture_noise: And per standard deviation of the texture: displacement, unequal sharpness.
    """
    planes = planes * seen
    moments = window_mean(torch.cat([planes, planes.square(), seen], dim=-3))
    area = moments[..., 6:, :, :].clamp_min(1e-6)
    mean, square = moments[..., :3, :, :] / area, moments[..., 3:6, :, :] / area
    texture = (square - mean.square()).mean(-3, keepdim=True).clamp_min(0)
    return noise**2 + texture_noise**2 * texture


def mean_error(
    planes: Float[Tensor, "*n 3 h w"],
    others: Float[Tensor, "*n 3 h w"],
    seen: Float[Tensor, "*n 1 h w"],
) -> Float[Tensor, "*n 1 h w"]:
    """Mean squared difference over each window's seen pixels; infinite without any."""
    error = (planes - others).square().mean(-3, keepdim=True)
    total = window_mean(torch.cat([error * seen, seen], dim=-3))
    found, share = total[..., :1, :, :], total[..., 1:, :, :]
    return torch.where(share > 1e-6, found / share, torch.inf)


def agreement_of(
    found: Float[Tensor, "*n 1 h w"], expected: Float[Tensor, "*n 1 h w"]
) -> Float[Tensor, "*n 1 h w"]:
    """1 up to the error that is expected, then falling: the weight that a robust fit would give."""
    return (expected / found).clamp(max=1) ** SHARPNESS


def window_mean(
    planes: Float[Tensor, "*n channel h w"], radius: int = RADIUS
) -> Float[Tensor, "*n channel h w"]:
    """Mean over square windows; at the borders over what lies inside."""
    for axis in (-1, -2):
        planes = _line_mean(planes, radius, axis)
    return planes


def _line_mean(planes: Tensor, radius: int, axis: int) -> Tensor:
    """Mean over lines along one axis. Shifted sums are ten times faster than average pooling."""
    length = planes.shape[axis]
    margins = (radius, radius) if axis == -1 else (0, 0, radius, radius)
    padded = functional.pad(planes, margins)
    total = padded.narrow(axis, 0, length).clone()
    for shift in range(1, 2 * radius + 1):
        total += padded.narrow(axis, shift, length)
    place = torch.arange(length, device=planes.device)
    inside = (place + radius).clamp(max=length - 1) - (place - radius).clamp(min=0) + 1
    return total / inside.reshape(-1, *(1,) * (-axis - 1))
