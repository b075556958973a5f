"""What the fit minimises: pixel losses that respect weights, and regularisers of shape."""

from .depth import depth_loss
from .photometric import photometric_loss, prepare_loss
from .shape import shape_penalty

__all__ = ["depth_loss", "photometric_loss", "prepare_loss", "shape_penalty"]
