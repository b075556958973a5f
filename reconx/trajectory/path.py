"""Camera paths: the kinds there are, and the one call that makes them."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..checks import check_choice
from ..ops.framing import reframe_cameras
from ..types import Cameras, Scene
from .interpolate import interpolate_cameras
from .options import CameraPath, PathOptions
from .orbit import orbit_cameras

KINDS: Mapping[str, Callable[[Scene, Cameras, PathOptions], CameraPath]] = {
    "interpolate": interpolate_cameras,
    "orbit": orbit_cameras,
}
"""Each takes the scene, its cameras at the path's size, and the options."""


def make_path(scene: Scene, options: PathOptions) -> CameraPath:
    """Lay a camera path through a scene.

    A size of another shape than the photos' shows their centre: the picture is cropped, never
    squeezed, and K follows (`ops/framing.py`).

    Raises:
        InputError: If the kind is unknown, or the scene's cameras do not allow it.
    """
    check_choice("Path kind", options.kind, tuple(KINDS))
    width, height = _size(scene, options)
    captured = reframe_cameras(scene.photo_cameras, width, height)
    path = KINDS[options.kind](scene, captured, options)
    return replace(path, world_from_scene=scene.world_from_scene)


def _size(scene: Scene, options: PathOptions) -> tuple[int, int]:
    photo_width, photo_height = scene.photos.width, scene.photos.height
    match options.width, options.height:
        case None, None:
            return photo_width, photo_height
        case int(width), None:
            return width, max(1, round(width * photo_height / photo_width))
        case None, int(height):
            return max(1, round(height * photo_width / photo_height)), height
        case width, height:
            return width, height
