"""Structure models with tiny random weights, which change a result as trained ones would."""

from collections.abc import Sequence

import torch

from reconx.structure.adapter import AdapterSizes, StructureAdapter
from reconx.structure.encoder import EncoderSizes, StructureEncoder
from reconx.structure.model import StructureFacts, StructureModel


def tiny_structure(
    family: str,
    widths: Sequence[int],
    *,
    gate: float = 1.0,
    width: int = 24,
    token_width: int | None = None,
    rank: int | None = None,
) -> StructureModel:
    """Encoder and adapter for a denoiser of a family whose attentions are that wide."""
    torch.manual_seed(0)
    sizes = EncoderSizes(width=width, heads=3, points=300, queries=40, point_width=16)
    adapter = AdapterSizes(
        family=family, widths=tuple(widths), token_width=token_width or width, rank=rank
    )
    return StructureModel(
        StructureEncoder(sizes),
        StructureAdapter(adapter, gate=gate),
        StructureFacts(training_data="none", licence="Apache-2.0", steps=7),
    ).eval()
