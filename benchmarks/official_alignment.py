"""DUSt3R's own aligner on our pairs, from a checkout of its code beside the project."""

import sys
from pathlib import Path
from typing import Any

import torch
from adam_alignment import LEARNING_RATE, LEAST_LEARNING_RATE, STEPS, AdamAlignment
from torch import Tensor

from reconx.types import PairPointmaps


class OfficialAlignment:
    """A `PointCloudOptimizer`, stepped from outside."""

    def __init__(self, checkout: Path, pairs: list[PairPointmaps]) -> None:
        """Import the code and give it the pairs."""
        sys.path.insert(0, str(checkout))
        from dust3r.cloud_opt import base_opt, optimizer  # pyright: ignore[reportMissingImports]

        def stack(name: str) -> Tensor:
            return torch.stack([getattr(pair, name) for pair in pairs])

        self.base: Any = base_opt
        self.net: Any = optimizer.PointCloudOptimizer(
            {"idx": [pair.i for pair in pairs]},
            {"idx": [pair.j for pair in pairs]},
            {"pts3d": stack("points_i"), "conf": stack("confidence_i")},
            {"pts3d_in_other_view": stack("points_j"), "conf": stack("confidence_j")},
            verbose=False,
        )

    def start(self, recipe: AdamAlignment) -> None:
        """Find the official start, and put the recipe there, too."""
        from dust3r.cloud_opt import init_im_poses  # pyright: ignore[reportMissingImports]

        net = self.net
        init_im_poses.init_minimum_spanning_tree(net, niter_PnP=10)
        with torch.no_grad():
            recipe.depth.copy_(net.im_depthmaps)
            recipe.focal.copy_(net.im_focals)
            # Their quaternions are xyzw, ours wxyz.
            order = [3, 0, 1, 2, 4, 5, 6]
            recipe.pose.copy_(net.im_poses[:, order])
            recipe.pair.copy_(net.pw_poses[:, [*order, 7]])
            # Their pixels count from 0, ours lie at +0.5.
            recipe.get_buffer("grid").sub_(0.5)
        self.optimizer = torch.optim.Adam(
            [each for each in net.parameters() if each.requires_grad],
            lr=LEARNING_RATE,
            betas=(0.9, 0.9),
        )

    def step(self, index: int) -> None:
        """One of its own steps."""
        self.loss, _ = self.base.global_alignment_iter(
            self.net, index, STEPS, LEARNING_RATE, LEAST_LEARNING_RATE, self.optimizer, "cosine"
        )
