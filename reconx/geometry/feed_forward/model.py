"""What every network is that sees all photos at once, and how its weights are read."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import AlignmentFailed, InputError, WeightsNotFound
from ..depth_maps import GivenDepth
from ..weights import read_weights

PATCH = 14
"""Both sides of a photo are multiples of it: such networks start with DINOv2."""
LONG_SIDE = 518
"""Long side in pixels of the photos near what they were trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForwardModel:
    """A loaded network and how its answer is to be read."""

    network: nn.Module
    """Takes images (1, view, 3, height, width), sRGB in [0, 1]; gives named tensors."""
    interpret: Callable[[Mapping[str, Tensor]], GivenDepth]
    """Reads the network's answer, without its first axis, on the CPU."""
    checkpoint: str
    """File name of the weights."""

    @torch.no_grad()
    def predict(self, images: Float[Tensor, "view height width 3"]) -> GivenDepth:
        """Depth and cameras of all photos, at the size of the images.

        Args:
            images: sRGB in [0, 1]; sides are multiples of `PATCH`.

        Raises:
            AlignmentFailed: If the network sees a view through no possible lens.
        """
        device = next(self.network.parameters()).device
        answer = self.network(images.permute(0, 3, 1, 2)[None].to(device))
        given = self.interpret(
            {name: part[0].cpu() for name, part in answer.items() if isinstance(part, Tensor)}
        )
        _check_lenses(given)
        return given


def _check_lenses(given: GivenDepth) -> None:
    if given.K is None:
        return
    for view, (fx, fy) in enumerate(given.K[:, [0, 1], [0, 1]].tolist()):
        if not 0 < min(fx, fy) <= max(fx, fy) < math.inf:
            raise AlignmentFailed(
                f"What {given.estimator} says of photo {view + 1} is no picture of a camera: its "
                f"focal lengths are {fx:.1f} and {fy:.1f} pixels, expected above 0. Check that the "
                "checkpoint is a trained one, or leave the photo out."
            )


def check_file(path: Path, source: str) -> None:
    """Tell early, before a network of gigabytes is built, that its weights are not there.

    Raises:
        WeightsNotFound: If there is no such file.
    """
    if not path.is_file():
        raise WeightsNotFound(
            f"There is no checkpoint '{path}'. Get one from {source} and give its path."
        )


def load_weights(
    network: nn.Module, path: Path, source: str, *, unused: tuple[str, ...] = ()
) -> None:
    """Fill a network with the weights of a file and make it ready to predict.

    Args:
        network: Of the package whose weights they are.
        path: safetensors, or what `torch.save` wrote, read without running anything in it;
            in any precision.
        source: Where people get the file, for error texts.
        unused: How the names of tensors begin that the network has been relieved of.

    Raises:
        UnsafeCheckpoint: If reading it would run code.
        InputError: If it is damaged, or holds the weights of another network.
    """
    content = read_weights(path, source)
    tensors = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(tensors, Mapping):
        raise InputError(
            f"Checkpoint '{path.name}' does not fit: it holds no table of tensors. Expected the "
            f"file from {source}."
        )
    try:
        # Numbers of a file in half precision are widened: the network is given float32 photos.
        needed = {
            name: part.float() if part.is_floating_point() else part
            for name, part in tensors.items()
            if not name.startswith(unused)
        }
        network.load_state_dict(_with_shared(network, needed), assign=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"Checkpoint '{path.name}' does not fit: {reason} ... Expected the file from {source}."
        ) from error
    network.eval().requires_grad_(False)


def _with_shared(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each under all names it has in the network: safetensors keeps one of them."""
    names: dict[int, list[str]] = {}
    for name, part in network.state_dict(keep_vars=True).items():
        names.setdefault(id(part), []).append(name)
    complete = dict(tensors)
    for shared in names.values():
        held = next((name for name in shared if name in tensors), None)
        if held is not None:
            complete |= {name: tensors.get(name, tensors[held]) for name in shared}
    return complete
