"""The camera through which a person watches a fit."""

import logging

from ..errors import InputError
from ..ops.photos import fit_size
from ..trajectory.options import PathOptions
from ..trajectory.path import make_path
from ..types import Cameras, Scene

logger = logging.getLogger("reconx")

LONG_SIDE = 384
"""Pixels; a picture of this size costs less than a step of the fit."""
CAMERAS = 32
"""Pictures from one sway to the next: 16 seconds at two a second."""
DEGREES = 12.0
"""To each side: far enough to see depth, near enough to see little that no photo shows."""


def sway_around(scene: Scene) -> Cameras:
    """Cameras that sway slowly around what the photos look at; the last leads on to the first."""
    photos = scene.photos
    width, height = fit_size(photos.width, photos.height, LONG_SIDE)
    options = PathOptions(
        kind="orbit",
        frames=CAMERAS,
        width=width,
        height=height,
        loop=True,
        orbit_degrees=DEGREES,
    )
    try:
        return make_path(scene, options).cameras
    except InputError as error:
        logger.info("The fit's preview stays at photo 0: %s", error)
        return scene.photo_cameras[0].resized(width, height)
