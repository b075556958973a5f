"""Pi3 (Wang et al. 2025, arXiv 2507.13347), by the package of its authors."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.projection import pixel_centres
from ..depth_maps import GivenDepth
from .model import FeedForwardModel, check_file, load_weights

LICENCE = "CC BY-NC 4.0"
"""Of the published weights; the code is BSD."""
SOURCE = "https://huggingface.co/yyfz233/Pi3 (model.safetensors)"


def load_pi3(path: str | Path, *, device: torch.device | str = "cpu") -> FeedForwardModel:
    """Load a checkpoint.

    Raises:
        WeightsNotFound: If there is no such file.
        UnsafeCheckpoint: If reading it would run code.
        InputError: If it is damaged, or no Pi3.
    """
    path = Path(path)
    check_file(path, SOURCE)
    from pi3.models.pi3 import Pi3  # pyright: ignore[reportMissingImports]

    network = Pi3()
    load_weights(network, path, SOURCE)
    return FeedForwardModel(network=network.to(device), interpret=read_pi3, checkpoint=path.name)


def read_pi3(answer: Mapping[str, Tensor]) -> GivenDepth:
    """What Pi3 says, in our conventions.

    Its poses lead from the camera to the world, with OpenCV axes, and it knows of no lens: the
    focal length is fitted to its points. Its own tools show what they trust by 0.1 or more; half
    of that over 1 is where `GivenDepth` begins to count.

    Args:
        answer: "local_points" (view, height, width, 3) in each view's camera, logits "conf"
            (view, height, width, 1) and "camera_poses" (view, 4, 4).
    """
    points, trust = answer["local_points"], answer["conf"][..., 0].sigmoid()
    return GivenDepth(
        depth=points[..., 2],
        confidence=1 + trust / 2,
        K=_fit_lenses(points, trust),
        camera_to_world=answer["camera_poses"],
        estimator="pi3",
        licence=LICENCE,
    )


def _fit_lenses(
    points: Float[Tensor, "view height width 3"], weights: Float[Tensor, "view height width"]
) -> Float[Tensor, "view 3 3"]:
    """The focal lengths in pixels that agree best with points, principal point in the middle.

    Least squares of (pixel - middle) = f (x, y) / z on each axis, since pixels may not be square.
    """
    views, height, width = weights.shape
    middle = torch.tensor([width / 2, height / 2])
    slopes = points[..., :2] / points[..., 2:]
    offsets = pixel_centres(width, height) - middle
    above = (weights[..., None] * offsets * slopes).sum(dim=(1, 2))
    focal = above / (weights[..., None] * slopes**2).sum(dim=(1, 2))
    K = torch.eye(3).repeat(views, 1, 1)
    K[:, [0, 1], [0, 1]] = focal
    K[:, :2, 2] = middle
    return K
