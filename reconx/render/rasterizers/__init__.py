"""Gaussian rasterizers: one file per backend, listed in `registry.py`."""
