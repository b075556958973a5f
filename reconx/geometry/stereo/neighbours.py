"""What the sparse points tell dense stereo: whom to compare with, and how far away things are."""

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.projection import inside_image, project_points
from ...types import Cameras
from .sparse import SparseReconstruction

BEST_ANGLE_DEGREES = (5.0, 20.0)
"""Between these triangulation angles depth is well determined and windows still look alike."""


def choose_sources(sparse: SparseReconstruction, limit: int) -> tuple[tuple[int, ...], ...]:
    """For each view the views to match it against, best first.

    A pair earns, for each point that both see, 1 inside `BEST_ANGLE_DEGREES`, less in proportion
    below and a bell's flank above (the idea of MVSNet's view selection, Yao et al. 2018, sec. 4.1).

    Args:
        sparse: Cameras and the points each of them sees.
        limit: Most sources per view, so that cost grows with the number of views, not its square.

    Returns:
        Indices of `sparse.cameras`; empty for a view that shares no point with any other.
    """
    count = len(sparse.cameras)
    seen = torch.zeros(count, len(sparse.points), dtype=torch.bool)
    seen[sparse.observed_view, sparse.observed_point] = True
    rays = torch.nn.functional.normalize(
        sparse.points[None] - sparse.cameras.centers[:, None], dim=-1
    )
    score = torch.zeros(count, count)
    for i in range(count):
        for j in range(i + 1, count):
            both = seen[i] & seen[j]
            cosine = (rays[i, both] * rays[j, both]).sum(-1).clamp(-1, 1)
            score[i, j] = score[j, i] = _angle_worth(torch.rad2deg(torch.acos(cosine))).sum()
    order = score.argsort(dim=1, descending=True, stable=True)
    return tuple(tuple(int(j) for j in order[i, :limit] if score[i, j] > 0) for i in range(count))


def _angle_worth(degrees: Float[Tensor, " point"]) -> Float[Tensor, " point"]:
    low, high = BEST_ANGLE_DEGREES
    narrow = (degrees / low).clamp(max=1)
    return narrow * torch.exp(-((degrees - high).clamp_min(0) / 10).square() / 2)


def sparse_depths(
    sparse: SparseReconstruction, view: int, camera: Cameras
) -> Float[Tensor, "point 3"]:
    """Where one view sees its sparse points.

    Args:
        sparse: The reconstruction.
        view: Index of the view.
        camera: That view's pinhole camera, at any resolution.

    Returns:
        x, y in pixels of `camera` and inverse depth, of the points inside the image, in order.
    """
    index = torch.unique(sparse.observed_point[sparse.observed_view == view])
    pixels, depth = project_points(sparse.points[index], camera.viewmats[0], camera.K[0])
    keep = (depth > 0) & inside_image(pixels, camera.width, camera.height)
    return torch.cat([pixels[keep], 1 / depth[keep, None]], dim=-1)
