"""ReconX: photos of a place in, a scene of 3D Gaussians out."""

__version__ = "0.1.0"
