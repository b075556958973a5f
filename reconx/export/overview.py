"""The picture of a finished reconstruction that a person looks at first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import check_shape
from ..ops.metrics import psnr
from ..types import ALL_WELL, Cameras, NextPhoto, Overlap, Scene
from .pictures import photo_rectangle
from .plan import draw_plan
from .scene_pictures import confidence_colours, depth_limits, draw_confidence, draw_depth
from .sheet import GAP, MARGIN, SHEET_WIDTH, Section, Tile, draw_sheet

MOST_PHOTOS = 6
FRAMES_SHOWN = 6

_WITNESS_COLOURS = torch.tensor([[214.0, 72, 62], [226, 190, 76], [86, 176, 106]]) / 255
_HATCH = torch.tensor([255.0, 64.0, 160.0]) / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPictures:
    """What is known along a path; every part at one size of its own."""

    cameras: Cameras
    """The path."""
    frames: Float[Tensor, "frame height width 3"] | None = None
    """Frames as the backbone made them."""
    holes: Bool[Tensor, "frame height width"] | None = None
    """True where no photo saw the frame's surface; of the frames' size."""
    renders: Float[Tensor, "frame h w 3"] | None = None
    """The Gaussians seen from the path."""
    confidence: Float[Tensor, "frame height width"] | None = None
    """How far the frames are trusted, >= 1; of the frames' size."""
    judge: str | None = None
    """Who says so."""


def draw_overview(
    scene: Scene,
    path: PathPictures,
    *,
    photo_renders: Float[Tensor, "view height width 3"] | None = None,
    overlap: Overlap | None = None,
    next_photos: Sequence[NextPhoto] = (),
    title: str = "Reconstruction",
) -> Float[Tensor, "page_height page_width 3"]:
    """Draw photos with depth, confidence and fit, frames along the path, plans, and what is next.

    Args:
        scene: The scene, in its own frame; up to six photos are shown, chosen evenly.
        path: The camera path and what was made along it; up to six frames are shown.
        photo_renders: The Gaussians seen from the photos' cameras, at the photos' size; each is
            shown with its PSNR over the photo's valid pixels.
        overlap: How many photos show each surface; drawn as two more plans.
        next_photos: Written below those plans; rings mark where to stand.
        title: The first line.

    Returns:
        A picture 1600 pixels wide.

    Raises:
        InputError: If pictures do not fit each other in count or size.
    """
    sections = [_photo_section(scene, photo_renders)]
    if path.frames is not None or path.renders is not None:
        sections.append(_path_section(path))
    sections.append(_plan_section(scene, path.cameras))
    if overlap is not None:
        sections += _overlap_sections(scene, overlap, next_photos)
    return draw_sheet(title, sections)


def _photo_section(scene: Scene, renders: Tensor | None) -> Section:
    if renders is not None:
        check_shape("Renders of the photos", renders, *scene.photos.images.shape)
    shown = _evenly(len(scene.photos), MOST_PHOTOS)
    limits = depth_limits(scene)
    rows = [_photo_row(scene, renders, index, limits) for index in shown]
    count = f"{len(scene.photos)} photos"
    if len(shown) < len(scene.photos):
        count = f"{len(shown)} of {count}"
    return Section(
        heading=f"{count}, geometry by '{scene.source.estimator}'",
        rows=rows,
        columns=len(rows[0]),
        tile_height=340 if len(shown) <= 3 else 220,
    )


def _photo_row(
    scene: Scene, renders: Tensor | None, index: int, limits: tuple[float, float]
) -> list[Tile]:
    photo = scene.photos.images[index]
    near, far = limits
    measured = float(_cut_padding(scene, index, scene.measured[index]).float().mean())
    captioned = [
        (photo, f"{index + 1}: {scene.photos.names[index]}"),
        (draw_depth(scene, index, limits), f"depth: {near:.2g} (red) to {far:.2g} (blue)"),
        (draw_confidence(scene, index), f"confidence: {100 * measured:.0f} % measured"),
    ]
    if renders is not None:
        quality = psnr(renders[index].clamp(0, 1), photo, scene.photos.valid[index])
        captioned.append((renders[index], f"Gaussians: {quality:.1f} dB"))
    return [
        Tile(picture=_cut_padding(scene, index, picture), caption=caption)
        for picture, caption in captioned
    ]


def _path_section(path: PathPictures) -> Section:
    count = len(path.cameras)
    shown = sorted({int((step + 0.5) * count / FRAMES_SHOWN) for step in range(FRAMES_SHOWN)})
    heading, rows = f"Along the path of {count} frames", []
    if path.frames is not None:
        check_shape("Frames of the path", path.frames, count, None, None, 3)
        rows.append([_frame_tile(path.frames, path.holes, index) for index in shown])
        if path.holes is not None:
            heading += ": hatched is what no photo shows and was made up"
    if path.confidence is not None:
        check_shape("Confidence of the path", path.confidence, count, None, None)
        rows.append([_confidence_tile(path.confidence[index], index) for index in shown])
        if path.judge is not None:
            heading += f"; trusted by '{path.judge}'"
    if path.renders is not None:
        check_shape("Renders of the path", path.renders, count, None, None, 3)
        rows.append(
            [Tile(picture=path.renders[index], caption=f"Gaussians {index + 1}") for index in shown]
        )
    return Section(heading=heading, rows=rows, columns=FRAMES_SHOWN, tile_height=260)


def _frame_tile(frames: Tensor, holes: Tensor | None, index: int) -> Tile:
    if holes is None:
        return Tile(picture=frames[index], caption=f"frame {index + 1}")
    check_shape("Holes of the path", holes, *frames.shape[:3])
    height, width = holes.shape[1:]
    # Stripes let the frame shine through; their width follows the size at which they are seen.
    period = max(3, width // 32)
    stripes = (torch.arange(height)[:, None] + torch.arange(width)) % period < period / 3
    hatched = (holes[index] & stripes)[..., None]
    share = 100 * float(holes[index].float().mean())
    return Tile(
        picture=torch.where(hatched, _HATCH, frames[index]),
        caption=f"frame {index + 1}: {share:.0f} % unseen",
    )


def _confidence_tile(confidence: Tensor, index: int) -> Tile:
    trusted = 100 * float(confidence.log10().clamp(0, 1).mean())
    caption = f"frame {index + 1}: {trusted:.0f} % trusted"
    return Tile(picture=confidence_colours(confidence), caption=caption)


def _plan_section(scene: Scene, path: Cameras) -> Section:
    heading = "The place: measured points, photos (orange), path (blue)"
    return _plans(heading, lambda size, view: draw_plan(scene, path, size, view=view))


def _overlap_sections(
    scene: Scene, overlap: Overlap, next_photos: Sequence[NextPhoto]
) -> list[Section]:
    """How many photos show what, and below it what to photograph next, a line each."""
    heading = "What to photograph next (ring): shown by one photo (red), two (yellow), more (green)"
    level = (overlap.witnesses - 1).clamp(0, len(_WITNESS_COLOURS) - 1).long()
    centers = [photo.center for photo in next_photos if photo.center is not None]
    places = torch.stack(centers) if centers else None

    def draw(size: tuple[int, int], view: str) -> Tensor:
        colours = _WITNESS_COLOURS[level]
        return draw_plan(scene, None, size, view=view, colours=colours, places=places)

    texts = [photo.text for photo in next_photos] or [ALL_WELL]
    lines = [Section(heading=text, rows=[], columns=1, tile_height=1) for text in texts]
    return [_plans(heading, draw), *lines]


def _plans(heading: str, draw: Callable[[tuple[int, int], str], Tensor]) -> Section:
    """Two plans side by side, each drawn at a size from a view."""
    size = ((SHEET_WIDTH - 2 * MARGIN - GAP) // 2, 560)
    row = [
        Tile(picture=draw(size, "above"), caption="from above"),
        Tile(picture=draw(size, "side"), caption="from the side"),
    ]
    return Section(heading=heading, rows=[row], columns=2, tile_height=size[1])


def _cut_padding(scene: Scene, index: int, picture: Tensor) -> Tensor:
    """The part of a picture of a view, at any resolution, that is the photo."""
    left, top, right, bottom = photo_rectangle(scene.photos, index)
    height, width = picture.shape[:2]
    across, down = width / scene.photos.width, height / scene.photos.height
    return picture[
        round(top * down) : round(bottom * down), round(left * across) : round(right * across)
    ]


def _evenly(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(step * (count - 1) / (most - 1)) for step in range(most)]
