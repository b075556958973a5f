"""The small model's weights: one safetensors file that says what it is and how it was made."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ....errors import InputError, WeightsNotFound
from ....export.atomic import replacing
from .network import SmallDenoiser, SmallSizes

FORMAT = "reconx-small-1"
"""Names the file's layout; a later one gets another number."""
FILE = "small.safetensors"
"""What a training run calls it."""


def save_small_model(
    denoiser: SmallDenoiser, path: Path, *, recipe: Mapping[str, Any] | None = None
) -> None:
    """Write one file in half precision; what it replaces stays whole until the new one is.

    Args:
        denoiser: The network.
        path: The file.
        recipe: How it was trained, in JSON's types, for whoever looks into the file.
    """
    metadata = {"format": FORMAT, "sizes": json.dumps(asdict(denoiser.sizes))}
    if recipe is not None:
        metadata["recipe"] = json.dumps(recipe)
    weights = denoiser.state_dict().items()
    with replacing(path) as part:
        save_file({name: value.half().contiguous() for name, value in weights}, part, metadata)


def load_small_model(path: Path) -> SmallDenoiser:
    """Read a file that `save_small_model` wrote, in single precision, to make frames with.

    Raises:
        WeightsNotFound: If there is no such file.
        InputError: If it is damaged or holds something else.
    """
    if not path.is_file():
        raise WeightsNotFound(
            f"There are no weights '{path}' of the small model, though they come with the package: "
            "install it again. Or make them: 'python -m reconx train structure --config "
            "benchmarks/small.json --output RUN'."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"'{path.name}' cannot be read ({error}): it is cut short or no safetensors file. Copy "
            "it again from where it was made."
        ) from error
    return _build(path, metadata, tensors).eval().requires_grad_(False)


def _build(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> SmallDenoiser:
    if metadata.get("format") != FORMAT:
        raise _misfit(path, f"its format is '{metadata.get('format', 'not told')}'")
    try:
        sizes = json.loads(metadata["sizes"])
        with torch.device("meta"):
            denoiser = SmallDenoiser(SmallSizes(**{**sizes, "widths": tuple(sizes["widths"])}))
        denoiser.to_empty(device="cpu").load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _misfit(path, " ".join(str(error).split())) from error
    return denoiser


def _misfit(path: Path, reason: str) -> InputError:
    return InputError(
        f"'{path.name}' holds no small model of this version ({reason}); expected a file of format "
        f"'{FORMAT}'. Choose another file."
    )
