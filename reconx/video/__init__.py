"""Frames along a camera path: the clip driver and the video backbones."""
