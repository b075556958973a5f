"""Video backbones: one file per backbone, listed in `../registry.py`."""
