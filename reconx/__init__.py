"""ReconX: photos of a place in, a scene of 3D Gaussians out.

`reconstruct` does all of it; the stages it composes lie in the folders beside this file.
"""

__version__ = "0.1.0"

from .pipeline import Reconstruction, ReconstructOptions, reconstruct

__all__ = ["ReconstructOptions", "Reconstruction", "__version__", "reconstruct"]
