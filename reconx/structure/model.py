"""A trained structure condition: encoder and adapter, in one safetensors file that says what it is.

Owns the file format and its errors. Nothing is published in it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError, WeightsNotFound
from ..types import Cameras, Scene, StructureTokens
from .adapter import AdapterSizes, StructureAdapter
from .encoder import EncoderSizes, StructureEncoder, encode_structure

FORMAT = "reconx-structure-2"
"""Names the file's layout; a later one gets another number."""
UNTRAINED = (
    "No weights of the structure condition are published; 'python -m reconx train structure' "
    "trains them for a video model"
)
"""Why nobody can be sent to a download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureFacts:
    """What a file tells about itself, beside sizes."""

    training_data: str = "none"
    """What it was trained on; "none" for random weights."""
    licence: str = "unknown"
    """Of the weights."""
    steps: int = 0
    """Training steps."""


class StructureModel(nn.Module):
    """The encoder and the adapter that were trained together."""

    def __init__(
        self, encoder: StructureEncoder, adapter: StructureAdapter, facts: StructureFacts
    ) -> None:
        """Put two parts together.

        Raises:
            InputError: If the adapter expects tokens of another width.
        """
        super().__init__()
        if encoder.sizes.width != adapter.sizes.token_width:
            raise InputError(
                f"The encoder makes tokens of {encoder.sizes.width} channels, and the adapter "
                f"takes {adapter.sizes.token_width}; expected the same."
            )
        self.encoder, self.adapter, self.facts = encoder, adapter, facts

    def condition(self, scene: Scene, reference: Cameras) -> "StructureCondition":
        """A scene's structure for the clip that begins at a camera; see `encode_structure`."""
        tokens = encode_structure(scene, reference, self.encoder)
        return StructureCondition(tokens=tokens, model=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureCondition:
    """One clip's structure: what a video model attends to, and by which weights."""

    tokens: StructureTokens
    """In the frame of the clip's first camera."""
    model: StructureModel
    """Encoded them; its adapter reads them."""

    @property
    def adapter(self) -> StructureAdapter:
        """What reads the tokens."""
        return self.model.adapter


def save_structure_model(
    model: StructureModel, path: Path, *, recipe: Mapping[str, Any] | None = None
) -> None:
    """Write one file; what it replaces stays whole until the new one is.

    Args:
        model: Encoder and adapter.
        path: The file.
        recipe: How they were trained, in JSON's types, for whoever looks into the file.
    """
    metadata = {
        "format": FORMAT,
        "encoder": json.dumps(asdict(model.encoder.sizes)),
        "adapter": json.dumps(asdict(model.adapter.sizes)),
        "facts": json.dumps(asdict(model.facts)),
    }
    if recipe is not None:
        metadata["recipe"] = json.dumps(recipe)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata)
    part.replace(path)


def load_structure_model(path: Path, *, dtype: torch.dtype | None = None) -> StructureModel:
    """Read a file that `save_structure_model` wrote.

    Args:
        path: The file.
        dtype: Of the adapter; None keeps the file's. The encoder stays in single precision.

    Raises:
        WeightsNotFound: If there is no such file.
        InputError: If it is damaged or holds something else.
    """
    if not path.is_file():
        raise WeightsNotFound(f"There is no structure model '{path}'. {UNTRAINED}.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"Structure model '{path.name}' cannot be read ({error}): it is cut short or no "
            "safetensors file. Copy it again from where it was made."
        ) from error
    model = _build(path, metadata, tensors)
    model.load_state_dict(tensors, assign=True)
    model.encoder.float()
    if dtype is not None:
        model.adapter.to(dtype)
    return model.eval().requires_grad_(False)


def _build(
    path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> StructureModel:
    """The model that the metadata describe, without weights; they must fit."""
    if metadata.get("format") != FORMAT:
        raise _misfit(path, f"its format is '{metadata.get('format', 'not told')}'")
    try:
        told = {name: json.loads(metadata[name]) for name in ("encoder", "adapter", "facts")}
        told["adapter"]["widths"] = tuple(told["adapter"]["widths"])
        _check_types({**told["encoder"], **told["adapter"], **told["facts"]})
        with torch.device("meta"):
            encoder = StructureEncoder(EncoderSizes(**told["encoder"]))
            adapter = StructureAdapter(AdapterSizes(**told["adapter"]))
        model = StructureModel(encoder, adapter, StructureFacts(**told["facts"]))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _misfit(path, f"its description is not as expected: {error}") from error
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise _misfit(
            path,
            f"'{name}' has shape {found.get(name, 'none')}, expected {expected.get(name, 'none')}; "
            f"{len(wrong)} tensors differ",
        )
    return model


def _check_types(told: Mapping[str, Any]) -> None:
    """Require texts where texts stand, and whole numbers everywhere else."""
    for name, value in told.items():
        values = value if name == "widths" else [] if name == "rank" and value is None else [value]
        kind = str if name in ("family", "training_data", "licence") else int
        if not all(type(part) is kind for part in values):
            raise TypeError(f"'{name}' is {value!r}, expected {kind.__name__}")


def _misfit(path: Path, reason: str) -> InputError:
    return InputError(
        f"'{path.name}' is no structure model of this version ({reason}); expected a file of "
        f"format '{FORMAT}'. Choose another file."
    )
