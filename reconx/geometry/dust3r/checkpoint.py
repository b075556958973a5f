"""Reading DUSt3R checkpoints: finds out what a file holds and whether it fits; runs none of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, WeightsNotFound
from ..weights import read_weights
from .config import HEAD_WIDTH, NetworkConfig, read_config
from .network import Dust3rNetwork

LICENCE = "CC BY-NC-SA 4.0"
"""Of every published DUSt3R checkpoint, and so of what is trained from one: no commercial use."""
SOURCE = "https://huggingface.co/naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt (model.safetensors)"
"""Where people get the best of the official checkpoints."""

_DOUBLED = re.compile(r"(scratch\.)layer_rn\.(\d)(\.weight)$")
_UNUSED = re.compile(r"mask_token$|downstream_head\d\.dpt\.scratch\.refinenet4\.resConfUnit1\.")
"""Official tensors that nothing reads: the mask of pretraining, a join with no finer level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """What is known of a loaded checkpoint."""

    name: str
    """File name."""
    licence: str
    """Under which the weights, and so what they make, may be used."""
    config: NetworkConfig
    """Sizes of the network."""
    long_side: int
    """Long side in pixels of the photos on which the network was trained."""


def load_checkpoint(
    path: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Dust3rNetwork, CheckpointFacts]:
    """Build the network that a file holds.

    What a file is tells its content, not its name: safetensors, or what `torch.save` wrote, read
    without running anything in it. Tensors go over one by one, so no second copy comes about.

    Args:
        path: The checkpoint.
        dtype: Of the blocks; the heads stay in float32, since their activations are exponential.
        device: Where the network will lie.

    Raises:
        WeightsNotFound: If there is no such file.
        UnsafeCheckpoint: If reading it would run code.
        InputError: If it is damaged, or holds something else than DUSt3R.
    """
    if not path.is_file():
        raise WeightsNotFound(
            f"There is no DUSt3R checkpoint '{path}'. Get one from {SOURCE} and give its path."
        )
    tensors, trained_size = _read(path)
    try:
        config = read_config({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except KeyError as error:
        raise _misfit(path, f"it lacks {error}") from error
    except ValueError as error:
        raise _misfit(path, f"its tensors have other ranks ({error})") from error
    if config.encoder_width % HEAD_WIDTH or config.decoder_width % HEAD_WIDTH:
        widths = f"{config.encoder_width} and {config.decoder_width}"
        raise _misfit(path, f"its tokens have {widths} channels, no multiples of {HEAD_WIDTH}")
    with torch.device("meta"):
        network = Dust3rNetwork(config)
    _check_fit(path, network, tensors)
    network.load_state_dict(
        {name: _convert(name, tensors.pop(name), dtype, device) for name in network.state_dict()},
        assign=True,
    )
    network.eval().requires_grad_(False)
    long_side = trained_size or (512 if config.dpt or "512" in path.name else 224)
    return network, CheckpointFacts(
        name=path.name, licence=LICENCE, config=config, long_side=long_side
    )


def _convert(name: str, tensor: Tensor, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    return tensor.to(device, torch.float32 if name.startswith("downstream_head") else dtype)


def _read(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """The network's tensors by their names, and the training size if the file tells it."""
    content = read_weights(path, SOURCE)
    content = content if isinstance(content, Mapping) else {}
    tensors = content.get("model", content)
    if not isinstance(tensors, Mapping):
        raise _misfit(path, f"its 'model' is a {type(tensors).__name__}, no table of tensors")
    named = {
        _DOUBLED.sub(_single_name, name): tensor
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor) and not _UNUSED.match(name)
    }
    return named, _trained_size(content)


def _single_name(doubled: re.Match[str]) -> str:
    return f"{doubled[1]}layer{int(doubled[2]) + 1}_rn{doubled[3]}"


def _trained_size(content: Mapping[Any, Any]) -> int | None:
    """From the training's arguments, a text of Python that is searched and never evaluated."""
    arguments = str(getattr(content.get("args"), "model", ""))
    found = re.search(r"img_size=\((\d+)", arguments)
    return int(found[1]) if found else None


def _check_fit(path: Path, network: Dust3rNetwork, tensors: Mapping[str, Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    faults = []
    if missing := sorted(expected.keys() - tensors.keys()):
        faults.append(f"it lacks {_list(missing)}")
    if surplus := sorted(tensors.keys() - expected.keys()):
        faults.append(f"DUSt3R has no place for its {_list(surplus)}")
    for name, shape in expected.items():
        if name in tensors and tuple(tensors[name].shape) != shape:
            faults.append(f"'{name}' has shape {tuple(tensors[name].shape)}, expected {shape}")
            break
    if faults:
        raise _misfit(path, "; ".join(faults))


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more


def _misfit(path: Path, reason: str) -> InputError:
    return InputError(
        f"Checkpoint '{path.name}' is no DUSt3R: {reason}. Expected the tensors of "
        f"DUSt3R_ViTLarge_BaseDecoder_512_dpt, 512_linear or 224_linear. Get one from {SOURCE}."
    )
