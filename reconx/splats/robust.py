"""Pixels that contradict all other pictures: moving things, wrong frames."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

WINDOW = 1 / 40
"""Side of the square over which errors are averaged, in long sides of the picture."""
BULK = 0.8
"""Share of a picture that is taken to agree with the others."""
TOLERANCE = 4.0
"""Errors up to so many times the bulk's largest are texture that the Gaussians lack so far."""


def inlier_weights(
    image: Float[Tensor, "height width 3"],
    target: Float[Tensor, "height width 3"],
    weights: Float[Tensor, "height width"],
) -> Float[Tensor, "height width"]:
    """The weights, with 0 where a picture is far worse met than elsewhere.

    After RobustNeRF (Sabour et al., CVPR 2023) and SpotLessSplats (2024), which drop the largest
    errors after smoothing them, since what moves is a region while lone pixels are texture. Those
    drop a fixed share of every picture; here the limit is a multiple of a quantile, so that a
    picture which is met alike everywhere loses nothing.

    Args:
        image: Rendered.
        target: Photo or frame.
        weights: In [0, 1]; pixels of weight 0 have no say.
    """
    error = (image.detach() - target).abs().mean(dim=-1)
    side = 2 * round(WINDOW * max(error.shape) / 2) + 1
    planes = torch.stack([error * weights, weights])[:, None]
    summed, trust = functional.avg_pool2d(planes, side, stride=1, padding=side // 2)[:, 0]
    smooth = summed / trust.clamp_min(1e-6)
    counted = smooth[weights > 0]
    if len(counted) == 0:
        return weights
    limit = TOLERANCE * counted.kthvalue(max(1, round(BULK * len(counted)))).values
    return torch.where(smooth <= limit, weights, 0.0)
