"""Video models of the diffusers package: one file per family, what they share in `backbone.py`."""
