"""LPIPS (Zhang et al., CVPR 2018): features of a trained network, weighted by trained heads.

Owns the network; `weights.py` fills it, `loss.py` decides when it is used.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of each stage."""


class Lpips(nn.Module):
    """Weighted distances between the unit features of two pictures, at several depths."""

    _shift: Tensor
    _scale: Tensor

    def __init__(self, stages: Sequence[nn.Sequential]) -> None:
        """Build a network whose heads count every channel alike.

        Args:
            stages: Of the trunk, each with a convolution; the features after each are compared.
        """
        super().__init__()
        self.stages = nn.ModuleList(stages)
        widths = [_convolutions(stage)[-1].out_channels for stage in stages]
        self.heads = nn.ParameterList(torch.ones(1, width, 1, 1) for width in widths)
        # The mean and deviation of ImageNet, for pictures in [-1, 1]; digits as published.
        self.register_buffer("_shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("_scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None])

    def forward(
        self, image: Float[Tensor, "height width 3"], target: Float[Tensor, "height width 3"]
    ) -> Float[Tensor, ""]:
        """Distance of two pictures in [0, 1]; 0 for equal ones. Differentiable in both."""
        planes = torch.stack([image, target]).permute(0, 3, 1, 2)
        features = (2 * planes - 1 - self._shift) / self._scale
        distance = image.new_zeros(())
        for stage, head in zip(self.stages, self.heads, strict=True):
            features = stage(features)
            # Where rectifiers leave nothing, a bare root would have an infinite slope.
            unit = features / (features.square().sum(1, keepdim=True) + 1e-20).sqrt()
            distance = distance + ((unit[0] - unit[1]).square() * head[0]).sum(0).mean()
        return distance

    def convolutions(self) -> list[nn.Conv2d]:
        """Those of the trunk, in order."""
        return [convolution for stage in self.stages for convolution in _convolutions(stage)]


def make_alexnet() -> Lpips:
    """LPIPS on the trunk of AlexNet, untrained: a quick one."""
    return Lpips(
        [
            nn.Sequential(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        ]
    )


def make_vgg16() -> Lpips:
    """LPIPS on the trunk of VGG16, untrained: what papers train with, 17 times as slow."""
    stages, channels = [], 3
    for index, widths in enumerate(_VGG16):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if index else []
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        stages.append(nn.Sequential(*layers))
    return Lpips(stages)


def _convolutions(stage: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d)]
