"""How far each pixel of a generated frame is to be trusted, and what that weighs in the fit."""

from .weights import REFERENCE_CONFIDENCE, weights_from_confidence

__all__ = ["REFERENCE_CONFIDENCE", "weights_from_confidence"]
