"""Camera paths: the kinds there are, and the one call that makes them."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..checks import check_choice
from ..errors import InputError
from ..ops.framing import reframe_cameras
from ..types import Cameras, Photos, Scene
from .frame_rule import legal_frame_count
from .interpolate import interpolate_cameras
from .keyframes import visit_keyframes
from .moves import MOVES, move_camera
from .options import CameraPath, PathOptions
from .orbit import orbit_cameras

logger = logging.getLogger("reconx")

KINDS: Mapping[str, Callable[[Scene, Cameras, PathOptions], CameraPath]] = {
    "interpolate": interpolate_cameras,
    "orbit": orbit_cameras,
    "keyframes": visit_keyframes,
    **dict.fromkeys(MOVES, move_camera),
}
"""Each takes the scene, its cameras at the path's size, and the options."""


def make_path(scene: Scene, options: PathOptions) -> CameraPath:
    """Lay a camera path through a scene.

    A size of another shape than the photos' shows their centre: the picture is cropped, never
    squeezed, and K follows (`ops/framing.py`).

    Raises:
        InputError: If the kind is unknown or takes no move, or the scene's cameras do not allow it.
    """
    check_choice("Path kind", options.kind, tuple(KINDS))
    if options.move is not None and options.kind not in MOVES:
        raise InputError(
            f"A path of the kind '{options.kind}' moves no photo's camera, and takes neither photo "
            f"nor amplitude. Leave them out, or choose one of: {', '.join(MOVES)}."
        )
    frames = legal_frame_count(options.frames, options.frame_rule)
    if frames != options.frames:
        logger.warning(
            "%d frames do not fit the rule %s: the path gets %d.",
            options.frames,
            options.frame_rule,
            frames,
        )
        options = replace(options, frames=frames)
    width, height = path_size(scene.photos, options.width, options.height)
    captured = reframe_cameras(scene.photo_cameras, width, height)
    path = KINDS[options.kind](scene, captured, options)
    return replace(path, loop=options.loop, world_from_scene=scene.world_from_scene)


def path_size(photos: Photos, width: int | None, height: int | None) -> tuple[int, int]:
    """Width and height of a path for which one, both or none is given; see `PathOptions`."""
    match width, height:
        case None, None:
            return photos.width, photos.height
        case int(), None:
            return width, max(1, round(width * photos.height / photos.width))
        case None, int():
            return max(1, round(height * photos.width / photos.height)), height
        case _:
            return width, height
