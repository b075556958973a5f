"""Pairwise pointmaps to cameras and depth: the global alignment."""
