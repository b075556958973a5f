"""Tiles of the camera moves that set off from one photo, on the sample room."""

from __future__ import annotations

from PIL import Image, ImageDraw

from reconx.export.pictures import to_pil
from reconx.export.plan import PATH_COLOUR
from reconx.render.gaussians import render_gaussians
from reconx.trajectory.options import CameraPath, MoveOptions, PathOptions
from reconx.trajectory.path import make_path

from .room import FRAMES, SampleRoom
from .tiles import Tile

WIDTH, HEIGHT = 384, 152
PHOTO = 1
"""The middle one: the others' cameras see what it lacks."""
AMPLITUDE = 0.3
DEGREES = 20.0
SPAN = 0.8
"""Share of a tile's height that a way across the picture covers."""


def move_tiles(room: SampleRoom) -> list[list[Tile]]:
    """The photo, and where each move has brought it; three tiles in a row."""
    tiles = [Tile(_shown(room, _path(room, "dolly"), 0), "photo, frame 0")]
    for kind in ("dolly", "zoom", "dolly-zoom", "truck", "pedestal", "roll"):
        tiles.append(Tile(_shown(room, _path(room, kind), FRAMES - 1), kind))
    for kind in ("spiral", "lemniscate"):
        tiles.append(Tile(_way(room, _path(room, kind)), kind))
    return [tiles[start : start + 3] for start in range(0, len(tiles), 3)]


def _path(room: SampleRoom, kind: str) -> CameraPath:
    move = MoveOptions(photo=PHOTO, amplitude=AMPLITUDE, degrees=DEGREES)
    frames = 8 * FRAMES if kind in ("spiral", "lemniscate") else FRAMES
    return make_path(
        room.scene, PathOptions(kind=kind, frames=frames, width=WIDTH, height=HEIGHT, move=move)
    )


def _shown(room: SampleRoom, path: CameraPath, frame: int) -> Image.Image:
    return to_pil(render_gaussians(room.splat, path.cameras[frame]).colour[0])


def _way(room: SampleRoom, path: CameraPath) -> Image.Image:
    """The photo, and across it the camera's way as seen from behind the camera."""
    picture = _shown(room, path, 0)
    pose = path.cameras.camera_to_world[0]
    across = ((path.cameras.centers - pose[:3, 3]) @ pose[:3, :3])[:, :2]
    across = across * (SPAN * HEIGHT / 2 / across.abs().amax())
    points = [(WIDTH / 2 + x, HEIGHT / 2 + y) for x, y in across.tolist()]
    ImageDraw.Draw(picture).line(points, PATH_COLOUR, width=4, joint="curve")
    return picture
