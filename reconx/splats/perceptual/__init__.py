"""Losses that compare how pictures look, not pixel by pixel."""
