"""What the fit minimises, per picture: pixel losses that respect weights."""

from .depth import depth_loss
from .photometric import photometric_loss, prepare_loss

__all__ = ["depth_loss", "photometric_loss", "prepare_loss"]
