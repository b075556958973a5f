"""Geometry estimators: one file per model, listed in `registry.py`."""
