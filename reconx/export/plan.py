"""A scene as a map: its points, cameras and path seen from above or from the side."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from ..checks import check_choice, check_shape
from ..types import Cameras, Scene
from .pictures import to_pil

PANEL = (32, 33, 38)
"""What is empty; a little lighter than a page."""
PHOTO_COLOUR = (255, 159, 64)
PATH_COLOUR = (92, 200, 255)
PLACE_COLOUR = (255, 255, 255)
_OVERSAMPLING = 2
"""Pillow draws lines without antialiasing, so that all is drawn larger and shrunk."""
_RING = 9 * _OVERSAMPLING
"""Radius of the ring about a place."""
_FRUSTUM = 30
"""Length of a drawn camera in pixels of the finished picture."""
_COVERED_SHARE = 0.3
"""Rough share of the picture that a scene covers."""


def draw_plan(
    scene: Scene,
    path: Cameras | None = None,
    size: tuple[int, int] = (768, 576),
    *,
    view: str = "above",
    colours: Float[Tensor, "view h w 3"] | None = None,
    places: Float[Tensor, "place 3"] | None = None,
) -> Float[Tensor, "height width 3"]:
    """Draw a scene's measured points with the photos' cameras and a camera path.

    From above, photo 1 looks towards the upper border; from the side, towards the right one. The
    scale shows all cameras and the points but for the outermost percents, which may lie anywhere.

    Args:
        scene: The scene; all drawing is in its frame.
        path: Cameras along the path, drawn as a line.
        size: Width and height of the picture in pixels.
        view: "above" or "side".
        colours: Of the points, at the geometry's resolution; without, the photos'. With them
            guessed points are drawn as well.
        places: Where rings are drawn.

    Raises:
        InputError: If `view` is neither, or there is not one colour per point.
    """
    check_choice("Plan view", view, ("above", "side"))
    measured = scene.measured if scene.measured.any() else scene.valid
    axes = _plan_axes(scene, view)
    width, height = (_OVERSAMPLING * side for side in size)
    places = torch.empty(0, 3) if places is None else places
    on_path = places[:0] if path is None else path.centers
    centres = torch.cat([scene.cameras.centers, on_path, places])
    frame = _Frame.around(scene.points[measured] @ axes.mT, centres @ axes.mT, axes, width, height)
    shown = measured if colours is None else scene.valid
    colours = _photo_colours(scene) if colours is None else colours
    check_shape("Colours of the plan", colours, *scene.points.shape)
    pixels = frame.pixels(scene.points[shown] @ axes.mT)
    picture = to_pil(_density_picture(pixels, colours[shown], width, height))
    draw = ImageDraw.Draw(picture)
    if path is not None:
        _draw_path(draw, frame, path)
    for index in range(len(scene.cameras)):
        _draw_camera(draw, frame, scene.cameras[index], str(index + 1))
    for x, y in frame.pixels_of_world(places):
        box = (x - _RING, y - _RING, x + _RING, y + _RING)
        draw.ellipse(box, outline=PLACE_COLOUR, width=2 * _OVERSAMPLING)
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture)).float() / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """From plan coordinates (right, up on the picture) to pixels."""

    axes: Float[Tensor, "2 3"]
    centre: Float[Tensor, "2"]
    scale: float
    width: int
    height: int

    @staticmethod
    def around(
        points: Float[Tensor, "n 2"],
        centres: Float[Tensor, "view 2"],
        axes: Float[Tensor, "2 3"],
        width: int,
        height: int,
    ) -> "_Frame":
        """Show all centres and the inner 96 percent of the points per axis, with a margin."""
        corners = centres
        if len(points):
            step = -(-len(points) // 1_000_000)  # torch.quantile takes at most 16 million values
            share = torch.tensor([0.02, 0.98])
            corners = torch.cat([centres, torch.quantile(points[::step], share, dim=0)])
        low, high = corners.amin(0), corners.amax(0)
        margin = 3 * _OVERSAMPLING * _FRUSTUM
        room = torch.tensor([max(1.0, width - margin), max(1.0, height - margin)])
        # A scene without any extent is drawn at some scale, all in the middle.
        scale = float((room / (high - low).clamp_min(1e-6)).min())
        return _Frame(axes=axes, centre=(low + high) / 2, scale=scale, width=width, height=height)

    def pixels(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Pixel positions of plan coordinates."""
        flipped = (points - self.centre) * torch.tensor([self.scale, -self.scale])
        return flipped + torch.tensor([self.width / 2, self.height / 2])

    def pixels_of_world(self, points: Float[Tensor, "n 3"]) -> list[tuple[float, float]]:
        """Pixel positions of scene points, as Pillow takes them."""
        return [(x, y) for x, y in self.pixels(points @ self.axes.mT).tolist()]


def _photo_colours(scene: Scene) -> Float[Tensor, "view h w 3"]:
    """The photos at the geometry's resolution."""
    images = scene.photos.images.permute(0, 3, 1, 2)
    return functional.interpolate(images, scene.points.shape[1:3], mode="area").permute(0, 2, 3, 1)


def _plan_axes(scene: Scene, view: str) -> Float[Tensor, "2 3"]:
    """The scene directions that point right and up on the picture."""
    up = functional.normalize(scene.up, dim=0)
    pose = scene.cameras.camera_to_world[0, :3, :3]
    # A camera that looks straight down or up has its image's top for a heading.
    heading = pose[:, 2] if abs(float(pose[:, 2] @ up)) < 0.99 else -pose[:, 1]
    forward = functional.normalize(heading - (heading @ up) * up, dim=0)
    if view == "side":
        return torch.stack([forward, up])
    return torch.stack([torch.linalg.cross(forward, up), forward])


def _density_picture(
    pixels: Float[Tensor, "n 2"], colours: Float[Tensor, "n 3"], width: int, height: int
) -> Float[Tensor, "height width 3"]:
    """Mean colour of the points per square cell, fading into the panel where they are few.

    A mean needs no order: floor and ceiling both shine through. Cells grow where points are so few
    that single ones would be lost.
    """
    size = math.sqrt(_COVERED_SHARE * width * height / max(1, len(pixels)))
    size = min(max(round(size), _OVERSAMPLING), 6 * _OVERSAMPLING)
    columns, rows = -(-width // size), -(-height // size)
    cell = torch.floor(pixels / size).long()
    inside = ((cell >= 0) & (cell < torch.tensor([columns, rows]))).all(dim=1)
    index = (cell[:, 1] * columns + cell[:, 0])[inside]
    count = torch.bincount(index, minlength=rows * columns).float()
    total = torch.zeros(rows * columns, 3).index_add_(0, index, colours[inside])
    mean = total / count[:, None].clamp_min(1)
    # Full where the scene is usually covered, so that stray points stay faint.
    occupied = count[count > 0]
    full = float(occupied.median()) if len(occupied) else 1.0
    opacity = 0.9 * (count / full).clamp(max=1.0).sqrt()[:, None]
    panel = torch.tensor(PANEL) / 255
    picture = (opacity * mean + (1 - opacity) * panel).reshape(rows, columns, 3)
    return picture.repeat_interleave(size, 0).repeat_interleave(size, 1)[:height, :width]


def _draw_path(draw: ImageDraw.ImageDraw, frame: _Frame, path: Cameras) -> None:
    pixels = frame.pixels_of_world(path.centers)
    if len(pixels) > 1:
        draw.line(pixels, fill=PATH_COLOUR, width=2 * _OVERSAMPLING, joint="curve")
    radius = 1.5 * _OVERSAMPLING
    for x, y in pixels:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=PATH_COLOUR)


def _draw_camera(draw: ImageDraw.ImageDraw, frame: _Frame, camera: Cameras, label: str) -> None:
    """The pyramid of what a camera sees, cut off at a fixed length."""
    width, height = float(camera.width), float(camera.height)
    corners = torch.tensor(
        [[0.0, 0.0, 1.0], [width, 0.0, 1.0], [width, height, 1.0], [0.0, height, 1.0]]
    )
    rays = functional.normalize(corners @ torch.linalg.inv(camera.K[0]).mT, dim=-1)
    length = _OVERSAMPLING * _FRUSTUM / frame.scale
    pose = camera.camera_to_world[0]
    ends = frame.pixels_of_world(length * rays @ pose[:3, :3].mT + pose[:3, 3])
    (apex,) = frame.pixels_of_world(pose[None, :3, 3])
    for start, end in zip(ends, ends[1:] + ends[:1], strict=True):
        draw.polygon((apex, start, end), outline=PHOTO_COLOUR, width=_OVERSAMPLING)
    radius = 3 * _OVERSAMPLING
    x, y = apex
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=PHOTO_COLOUR)
    # The label stands behind the camera, away from what it looks at.
    ahead = torch.tensor(ends).mean(dim=0) - torch.tensor(apex)
    back = torch.tensor(apex) - functional.normalize(ahead, dim=0) * 14 * _OVERSAMPLING
    draw.text(
        (float(back[0]), float(back[1])),
        label,
        fill=PHOTO_COLOUR,
        anchor="mm",
        font=ImageFont.load_default(15 * _OVERSAMPLING),
        stroke_width=_OVERSAMPLING,
        stroke_fill=PANEL,
    )
