"""A path through cameras that the user has posed."""

import torch

from ..ops.framing import reframe_cameras
from ..ops.sim3 import apply_sim3_to_cameras
from ..types import Cameras, Scene
from .curve import travel_through
from .options import CameraPath, PathOptions


def visit_keyframes(scene: Scene, captured: Cameras, options: PathOptions) -> CameraPath:
    """Visit the posed cameras in the order given; see `travel_through`. No frame is a photo.

    Args:
        scene: Gives focus and depth, and leads from the user's world to its frame.
        captured: The scene's cameras at the path's size; only the size is used.
        options: The posed cameras and the path's length, loop and easing.

    Raises:
        InputError: If there are fewer frames than posed cameras.
    """
    assert options.keyframes is not None, "PathOptions has checked"
    stops = apply_sim3_to_cameras(scene.world_from_scene.inverse(), options.keyframes)
    stops = reframe_cameras(stops, captured.width, captured.height)
    cameras, _ = travel_through(stops, scene, options)
    return CameraPath(cameras=cameras, photo_index=torch.full((options.frames,), -1))
