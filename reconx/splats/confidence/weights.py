"""From raw confidence to the weight that a pixel has in the fit's losses."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError

REFERENCE_CONFIDENCE = 10.0
"""Confidence at and above which a generated pixel counts as much as a captured one."""


def weights_from_confidence(
    confidence: Float[Tensor, "*batch"], reference: float = REFERENCE_CONFIDENCE
) -> Float[Tensor, "*batch"]:
    """Map confidence to weights: `clip(log C / log C_ref, 0, 1)`.

    The C_i of ReconX (arXiv 2408.16767, eq. 14), whose scale the paper leaves open. The reference
    is one constant and not a statistic of the frame: dividing by a frame's own mean would lend a
    bad frame the weight of a good one.

    Args:
        confidence: >= 1; 1 is no evidence and gets weight 0.
        reference: Confidence at which the weight reaches 1.

    Raises:
        InputError: If a confidence is below 1 or NaN, or the reference is not above 1.
    """
    if not reference > 1:
        raise InputError(f"Reference confidence is {reference:g}; expected a number above 1.")
    if not bool((confidence >= 1).all()):
        raise InputError(
            f"Confidence goes down to {float(confidence.min()):g}; expected at least 1 everywhere. "
            "Give 1 where nothing is known."
        )
    return (torch.log(confidence) / math.log(reference)).clamp(max=1)
