"""LPIPS on AlexNet with random weights, as its two parts are published."""

import torch

from reconx.splats.perceptual.lpips import make_alexnet

PLACES = (0, 3, 6, 8, 10)
"""Numbers of AlexNet's convolutions among its layers."""


def trunk(prefix: str = "features") -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    tensors = {}
    for place, convolution in zip(PLACES, make_alexnet().convolutions(), strict=True):
        assert convolution.bias is not None
        tensors[f"{prefix}.{place}.weight"] = convolution.weight.detach()
        tensors[f"{prefix}.{place}.bias"] = convolution.bias.detach()
    return tensors | {"classifier.1.weight": torch.zeros(3, 4)}


def heads() -> dict[str, torch.Tensor]:
    widths = (64, 192, 384, 256, 256)
    return {
        f"lin{index}.model.1.weight": torch.full((1, width, 1, 1), 0.5 + index)
        for index, width in enumerate(widths)
    }
