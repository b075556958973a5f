"""Gaussians that look like the photos: placed on the pointmaps, then fitted by gradient descent.

Owns the optimisation and its parameters. Gaussians are neither split nor pruned (ReconX, arXiv
2408.16767, section 4.4).
"""

from .options import FitOptions, LearningRates
from .run import fit_gaussians

__all__ = ["FitOptions", "LearningRates", "fit_gaussians"]
