"""How alike two pictures are. Inputs in [0, 1]; higher is better."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

SSIM_LIGHT, SSIM_CONTRAST = 1e-4, 9e-4
"""The constants that keep SSIM's two ratios finite in the dark and in flat regions."""


def psnr(
    image: Float[Tensor, "*view height width 3"],
    reference: Float[Tensor, "*view height width 3"],
    mask: Bool[Tensor, "*view height width"] | None = None,
) -> float:
    """Peak signal-to-noise ratio in dB over all pixels together, or over those in `mask`."""
    squared = (image - reference).square()
    if mask is not None:
        squared = squared[mask]
    return float(-10 * torch.log10(squared.mean().clamp_min(1e-12)))


def ssim_map(
    image: Float[Tensor, "view height width channel"],
    reference: Float[Tensor, "view height width channel"],
) -> Float[Tensor, "view height width"]:
    """Structural similarity per pixel, mean over channels (Wang et al. 2004).

    11-tap Gaussian window of standard deviation 1.5, zero padded, as in the loss of 3D Gaussian
    Splatting. Differentiable.
    """
    x, y = image, reference
    blurred = ssim_blur(torch.cat([x, y, x * x, y * y, x * y], dim=-1))
    mean_x, mean_y, xx, yy, xy = blurred.chunk(5, dim=-1)
    covariance = xy - mean_x * mean_y
    variances = (xx - mean_x.square()) + (yy - mean_y.square())
    squares = mean_x.square() + mean_y.square()
    luminance = (2 * mean_x * mean_y + SSIM_LIGHT) / (squares + SSIM_LIGHT)
    return (luminance * (2 * covariance + SSIM_CONTRAST) / (variances + SSIM_CONTRAST)).mean(dim=-1)


def ssim(
    image: Float[Tensor, "view height width 3"],
    reference: Float[Tensor, "view height width 3"],
    mask: Bool[Tensor, "view height width"] | None = None,
) -> float:
    """Mean of `ssim_map`, or of its pixels in `mask`."""
    similarity = ssim_map(image, reference)
    return float(similarity.mean() if mask is None else similarity[mask].mean())


def ssim_window(dtype: torch.dtype, device: torch.device | str = "cpu") -> Float[Tensor, "11"]:
    """The shares of SSIM's window, which is separable and symmetric; they add up to 1."""
    shares = [math.exp(-((tap - 5) ** 2) / (2 * 1.5**2)) for tap in range(11)]
    whole = sum(shares)
    return torch.tensor([share / whole for share in shares], dtype=dtype, device=device)


def ssim_blur(
    images: Float[Tensor, "view height width channel"],
) -> Float[Tensor, "view height width channel"]:
    """What SSIM's window sees of each channel; beyond the border everything is 0."""
    window = ssim_window(images.dtype, images.device)
    channels = images.shape[-1]
    # Channels stay last in memory: depthwise convolution is three times faster so.
    planes = images.permute(0, 3, 1, 2)
    across = window.expand(channels, 1, 1, 11)
    down = window[:, None].expand(channels, 1, 11, 1)
    planes = functional.conv2d(planes, across, padding=(0, 5), groups=channels)
    planes = functional.conv2d(planes, down, padding=(5, 0), groups=channels)
    return planes.permute(0, 2, 3, 1)
