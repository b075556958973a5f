"""What a fit changes of its Gaussians; log-scales and logits live only here and in the writers."""

from typing import Any

import torch
from torch import Tensor, nn

from ...ops.quaternion import quaternion_multiply, quaternion_to_matrix
from ...ops.sh import SH_C0
from ...types import Gaussians
from .options import LearningRates


class GaussianParameters(nn.Module):
    """Gaussians as differences from where they were placed, in each one's own frame and size.

    Adam's steps are equally long in every coordinate, so coordinates that turn and scale with the
    scene make the fit equivariant to similarities.
    """

    _means: Tensor
    _quats: Tensor
    _axes: Tensor
    _spins: Tensor

    def __init__(self, start: Gaussians, device: str) -> None:
        """Start at placed Gaussians."""
        super().__init__()
        count = len(start)
        self.register_buffer("_means", start.means.to(device))
        self.register_buffer("_quats", start.quats.to(device))
        # Column k: the Gaussian's k-th axis, one standard deviation long.
        axes = quaternion_to_matrix(self._quats) * start.scales.to(device)[:, None]
        self.register_buffer("_axes", axes)
        # Column k: the quaternion times the k-th imaginary unit.
        units = torch.eye(4, device=device)[1:]
        spins = quaternion_multiply(
            self._quats[:, None].expand(-1, 3, -1), units.expand(count, 3, 4)
        )
        self.register_buffer("_spins", spins.mT.contiguous(), persistent=False)
        self.offsets = nn.Parameter(torch.zeros(count, 3, device=device))
        self.turns = nn.Parameter(torch.zeros(count, 3, device=device))
        self.log_scales = nn.Parameter(start.scales.log().to(device))
        self.logits = nn.Parameter(start.opacities.logit().to(device))
        # In one piece: Adam's fused kernel on the CPU overwrites what lies between a view's parts.
        self.sh_constant = nn.Parameter(start.sh[:, :1].to(device).contiguous())
        self.sh_rest = nn.Parameter(start.sh[:, 1:].to(device).contiguous())

    def groups(self, rates: LearningRates) -> list[dict[str, Any]]:
        """Parameters with their learning rates, for Adam."""
        return [
            {"params": [self.offsets], "lr": rates.means},
            {"params": [self.turns], "lr": rates.rotations},
            {"params": [self.log_scales], "lr": rates.scales},
            {"params": [self.logits], "lr": rates.opacities},
            {"params": [self.sh_constant], "lr": rates.colours},
            {"params": [self.sh_rest], "lr": rates.colours / 20},
        ]

    def gaussians(self) -> Gaussians:
        """The Gaussians as they stand now, differentiable; quaternions of any length."""
        return Gaussians(
            # A product and a sum are several times faster than n products of 3 x 3 matrices.
            means=self._means + (self._axes * self.offsets[:, None]).sum(-1),
            # Times (1, t): once normalised, a turn by 2 |t| about the local axis t, without a pole.
            quats=self._quats + (self._spins * self.turns[:, None]).sum(-1),
            scales=self.log_scales.exp(),
            opacities=self.logits.sigmoid(),
            sh=torch.cat([self.sh_constant, self.sh_rest], dim=1),
        )

    @torch.no_grad()
    def limit_colours(self) -> None:
        """Bring colours back between black and white.

        Beyond, a Gaussian of which photos see a sliver would light up in other views.
        """
        self.sh_constant.clamp_(-0.5 / SH_C0, 0.5 / SH_C0)
