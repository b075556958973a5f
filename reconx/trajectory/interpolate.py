"""A path through all captured cameras."""

import torch

from ..errors import InputError
from ..types import Cameras, Scene
from .curve import travel_through
from .focus import camera_distances, median_depth
from .options import CameraPath, PathOptions
from .order import order_cameras


def interpolate_cameras(scene: Scene, captured: Cameras, options: PathOptions) -> CameraPath:
    """Visit every captured camera, neighbours in the picture following on each other.

    Captured cameras are hit exactly, bit for bit; see `travel_through` for what lies between.

    Args:
        scene: Gives focus and depth.
        captured: The scene's cameras at the path's size.
        options: The path's length, loop and easing.

    Raises:
        InputError: If there are fewer than two cameras, or fewer frames than cameras.
    """
    if len(captured) < 2:
        raise InputError(
            f"An interpolated path needs at least 2 captured cameras; the scene has "
            f"{len(captured)}. Choose the kind 'orbit'."
        )
    distance = camera_distances(captured, median_depth(scene))
    order = order_cameras(distance, loop=options.loop)
    cameras, reached = travel_through(captured[order], scene, options)
    photo_index = torch.full((options.frames,), -1)
    photo_index[reached] = torch.tensor(order)
    return CameraPath(cameras=cameras, photo_index=photo_index)
