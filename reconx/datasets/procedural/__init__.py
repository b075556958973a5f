"""Rooms that never were: scenes with exact cameras and depth, as many as anybody wants."""
