"""The types that flow between stages, and the conventions all of them obey.

Conventions, stated once:

- Camera axes are OpenCV's: +X right, +Y down, +Z forward. A pose is `camera_to_world`; `viewmats`
  is its inverse.
- K is in pixels of (width, height); pixel centres lie at +0.5, so the image spans [0, width].
- Images are (view, height, width, 3), float32 in [0, 1].
- Inside a `Scene` view 0's camera is the identity and the median depth of its points is 1;
  `world_from_scene` leads back to the user's world, and every export goes through it.
- Confidence is DUSt3R's: >= 1, and 1 means no evidence.
- Values are activated: scales are linear, opacities lie in [0, 1].
- All tensors lie on the CPU and are never mutated; a stage moves what it needs to its device.
"""

from .cameras import CameraPrior, Cameras, LensDistortion
from .gaussians import FitResult, Gaussians
from .overlap import ALL_WELL, NextPhoto, Overlap
from .photos import Photos
from .scene import CONFIDENT, FILLED, PairPointmaps, Scene, SceneSource
from .sim3 import Sim3
from .structure import StructureTokens
from .views import PointRenders, Views

__all__ = [
    "ALL_WELL",
    "CONFIDENT",
    "FILLED",
    "CameraPrior",
    "Cameras",
    "FitResult",
    "Gaussians",
    "LensDistortion",
    "NextPhoto",
    "Overlap",
    "PairPointmaps",
    "Photos",
    "PointRenders",
    "Scene",
    "SceneSource",
    "Sim3",
    "StructureTokens",
    "Views",
]
