"""A scene and its views to Gaussians: placing, losses, fit."""
