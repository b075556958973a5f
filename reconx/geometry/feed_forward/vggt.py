"""VGGT (Wang et al. 2025, arXiv 2503.11651), by the package of its authors."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.quaternion import quaternion_to_matrix
from ...ops.se3 import invert_pose
from ..depth_maps import GivenDepth
from .model import FeedForwardModel, check_file, load_weights

LICENCE = "CC BY-NC 4.0; of VGGT-1B-Commercial: VGGT License, no military use"
"""Of the published weights, which their tensors do not tell apart; the code is under the latter."""
SOURCE = "https://huggingface.co/facebook/VGGT-1B (model.pt or model.safetensors)"
UNUSED = ("point_head.", "track_head.")
"""Depth and cameras give better points than the head for points, say the authors."""


def load_vggt(path: str | Path, *, device: torch.device | str = "cpu") -> FeedForwardModel:
    """Load a checkpoint.

    Raises:
        WeightsNotFound: If there is no such file.
        UnsafeCheckpoint: If reading it would run code.
        InputError: If it is damaged, or no VGGT.
    """
    path = Path(path)
    check_file(path, SOURCE)
    from vggt.models.vggt import VGGT  # pyright: ignore[reportMissingImports]

    network = VGGT()
    network.point_head = network.track_head = None
    load_weights(network, path, SOURCE, unused=UNUSED)
    return FeedForwardModel(network=network.to(device), interpret=read_vggt, checkpoint=path.name)


def read_vggt(answer: Mapping[str, Tensor]) -> GivenDepth:
    """What VGGT says, in our conventions.

    Its poses lead from the world to the camera, with OpenCV axes, and its principal point lies in
    the middle. Its own tools export points of confidence 5 and more; that is where `GivenDepth`
    begins to count, at 1.05.

    Args:
        answer: "depth" (view, height, width, 1), "depth_conf" (view, height, width) and "pose_enc"
            (view, 9): translation, quaternion xyzw, vertical and horizontal field of view.
    """
    depth, encoded = answer["depth"][..., 0], answer["pose_enc"]
    viewmats = torch.eye(4).repeat(len(encoded), 1, 1)
    viewmats[:, :3, :3] = quaternion_to_matrix(encoded[:, [6, 3, 4, 5]])
    viewmats[:, :3, 3] = encoded[:, :3]
    return GivenDepth(
        depth=depth,
        confidence=1 + (answer["depth_conf"] - 1) / 80,
        K=_lenses(encoded[:, 7:], *depth.shape[1:]),
        camera_to_world=invert_pose(viewmats),
        estimator="vggt",
        licence=LICENCE,
    )


def _lenses(fields: Float[Tensor, "view 2"], height: int, width: int) -> Float[Tensor, "view 3 3"]:
    """K of vertical and horizontal fields of view, in radians."""
    sides = torch.tensor([width, height])
    K = torch.eye(3).repeat(len(fields), 1, 1)
    K[:, [0, 1], [0, 1]] = sides / 2 / torch.tan(fields.flip(-1) / 2)
    K[:, :2, 2] = sides / 2
    return K
