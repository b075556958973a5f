"""Reads LPIPS from the files in which its parts are published; runs none of them.

A file, or a folder of files whose tensors are taken together, holds:

- the trunk: `features.N.weight` and `.bias` as torchvision publishes AlexNet and VGG16, or
  `net.sliceS.N.weight` as the package lpips saves itself; N is the same number in both;
- the heads: `lin0.model.1.weight` to `lin4.model.1.weight`, shape (1, channels, 1, 1).

Other tensors, such as the trunk's classifier, are passed over.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InputError, WeightsNotFound
from ...geometry.weights import read_weights
from .lpips import Lpips, make_alexnet, make_vgg16

SOURCE = (
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth (trunk) and "
    "https://github.com/richzhang/PerceptualSimilarity, lpips/weights/v0.1/alex.pth (heads)"
)
"""Where people get the parts."""

LPIPS_WEIGHT = 0.5
"""Of the term in the loss (ReconX, eq. 14)."""

_SUFFIXES = (".pth", ".pt", ".safetensors")
_TRUNK = re.compile(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)")
_HEAD = re.compile(r"lin(\d)\.model\.\d\.weight")
_TRUNKS = {5: make_alexnet, 13: make_vgg16}
"""By the number of convolutions."""


def load_lpips(path: Path, device: torch.device | str = "cpu") -> Lpips:
    """Build the network that a file or a folder holds, frozen.

    Args:
        path: File with trunk and heads, or folder with both.
        device: Where the network will lie.

    Raises:
        WeightsNotFound: If there is no such file, or no file in the folder.
        UnsafeCheckpoint: If reading it would run code.
        InputError: If it is damaged, or lacks a part.
    """
    tensors = _read(path)
    trunk: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if found := _TRUNK.fullmatch(name):
            trunk.setdefault(int(found[1]), {})[found[2]] = tensor
    if len(trunk) not in _TRUNKS:
        raise _misfit(path, f"its trunk has {len(trunk)} convolutions, expected 5 or 13")
    network = _TRUNKS[len(trunk)]()
    for index, convolution in zip(sorted(trunk), network.convolutions(), strict=True):
        for kind in ("weight", "bias"):
            _fill(path, f"{kind} {index} of the trunk", convolution, kind, trunk[index].get(kind))
    heads = {int(found[1]): tensors[name] for name in tensors if (found := _HEAD.fullmatch(name))}
    for index in range(len(network.heads)):
        _fill(path, f"head lin{index}", network.heads, str(index), heads.get(index))
    return network.eval().requires_grad_(False).to(device)


def _read(path: Path) -> Mapping[str, Tensor]:
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if not files or not files[0].is_file():
        raise WeightsNotFound(f"There are no weights of LPIPS at '{path}'. Get {SOURCE}.")
    tensors: dict[str, Tensor] = {}
    for file in files:
        content = read_weights(file, SOURCE)
        if not isinstance(content, Mapping):
            raise _misfit(file, f"it holds a {type(content).__name__}, no table of tensors")
        tensors.update(
            {name: value for name, value in content.items() if isinstance(value, Tensor)}
        )
    return tensors


def _fill(path: Path, what: str, module: torch.nn.Module, name: str, tensor: Tensor | None) -> None:
    if tensor is None:
        raise _misfit(path, f"it lacks {what}")
    place = getattr(module, name)
    if tensor.shape != place.shape:
        shapes = f"{tuple(tensor.shape)}, expected {tuple(place.shape)}"
        raise _misfit(path, f"{what} has shape {shapes}")
    place.data.copy_(tensor)


def _misfit(path: Path, reason: str) -> InputError:
    return InputError(
        f"'{path}' is no LPIPS: {reason}. Give a file or folder that holds trunk and heads: "
        f"{SOURCE}."
    )
