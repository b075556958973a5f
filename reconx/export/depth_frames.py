"""Depth along a path as grey pictures, in the form that depth-guided models expect."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def draw_depth_frames(
    depth: Float[Tensor, "frame height width"], empty: Bool[Tensor, "frame height width"]
) -> Float[Tensor, "frame height width 3"]:
    """Draw closeness, 1 / depth: white is nearest, black farthest; what is empty is black too.

    All frames share one scale, so that a surface keeps its grey as the camera moves. It spans all
    but the nearest and the farthest hundredth, which may lie anywhere and are clipped.

    Args:
        depth: > 0 where it is not empty.
        empty: True where there is no surface.
    """
    closeness = torch.where(empty, 0.0, 1 / depth)
    seen = closeness[~empty]
    if not len(seen):
        return torch.zeros(*depth.shape, 3)
    step = -(-len(seen) // 1_000_000)  # torch.quantile takes at most 16 million values
    far, near = torch.quantile(seen[::step], torch.tensor([0.01, 0.99])).tolist()
    # A single depth is drawn white.
    grey = (closeness - far) / (near - far) if near > far else closeness / near
    return torch.where(empty, 0.0, grey.clamp(0, 1))[..., None].repeat(1, 1, 1, 3)
