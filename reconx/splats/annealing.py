"""Trust in generated frames that falls with the distance to the nearest photo."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..types import Cameras


def distances_to_photos(photos: Cameras, frames: Cameras) -> Float[Tensor, " frame"]:
    """How far each frame's camera stands from the nearest photo's.

    Args:
        photos: Cameras of the photos.
        frames: Cameras of the frames.

    Returns:
        In units of the largest distance of any camera from the centre of all, so that cameras fill
        the unit ball, about as CAT3D has them. 0 if all stand in one place.
    """
    centers = torch.cat([photos.centers, frames.centers])
    radius = torch.linalg.vector_norm(centers - centers.mean(0), dim=-1).max()
    gaps = torch.cdist(frames.centers, photos.centers).amin(1)
    return gaps / radius if radius > 0 else torch.zeros_like(gaps)


def annealed_weight(distance: float, strength: float, progress: float) -> float:
    """`exp(-b s^2)`, b rising from 0 to `strength` (CAT3D, Gao et al. 2024, section 3.3).

    Frames far from any photo shape the scene first; frames near one decide in the end.

    Args:
        distance: To the nearest photo, see `distances_to_photos`.
        strength: b at the end; 15 in CAT3D.
        progress: Share of the steps that are done.
    """
    return math.exp(-strength * progress * distance**2)
