"""Gaussians that look like the photos: placed on the pointmaps, then fitted by gradient descent.

Owns the optimisation and its parameters. The number of Gaussians stays (ReconX, arXiv 2408.16767,
section 4.4).
"""

from .options import ROBUST_AFTER, FitOptions, LearningRates
from .run import fit_gaussians

__all__ = ["ROBUST_AFTER", "FitOptions", "LearningRates", "fit_gaussians"]
