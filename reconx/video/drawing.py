"""Point renders of a path's clips, as somebody may have edited them, and how much they show."""

from jaxtyping import Bool
from torch import Tensor

from ..ops.image import resize_masks
from ..progress import Progress
from ..render.cloud import PointCloud
from ..render.edits import find_edits, take_renders
from ..render.points import render_points
from ..trajectory.options import CameraPath
from ..types import Cameras, PointRenders
from .clips import Stretch

COVERAGE_SIZE = 64
"""Long side in pixels at which coverage is measured."""


def draw_clip(
    cloud: PointCloud,
    path: CameraPath,
    clip: Stretch,
    cameras: Cameras,
    *,
    edited: PointRenders | None = None,
    progress: Progress | None = None,
) -> tuple[PointRenders, Bool[Tensor, "frame height width"] | None]:
    """A clip's point renders, and which of their pixels somebody has changed.

    Args:
        cloud: On the device that shall do the work.
        path: The whole path.
        clip: Its frames.
        cameras: The clip's cameras as the backbone takes them; what exceeds the clip rests at its
            last camera.
        edited: Renders along the whole path, edited. Changes are found at the path's size.
        progress: Who is told.

    Returns:
        Renders at `cameras`; None for the changes if nothing was edited.
    """
    if edited is None:
        return render_points(cloud, cameras, progress=progress), None
    rows = clip.frames(path)
    part = path.cameras[rows]
    own = take_renders(edited, rows, part)
    changed = find_edits(own, render_points(cloud, part, progress=progress))
    frames = [min(frame, len(rows) - 1) for frame in range(len(cameras))]
    return (
        take_renders(own, frames, cameras),
        ~resize_masks(~changed[frames], cameras.width, cameras.height),
    )


def measure_coverage(
    cloud: PointCloud, path: CameraPath, frames: list[int], progress: Progress | None = None
) -> list[float]:
    """Share of pixels that are known at some frames of a path; a photo is known whole."""
    cameras = path.cameras[frames]
    shrink = min(1.0, COVERAGE_SIZE / max(cameras.width, cameras.height))
    width, height = (max(1, round(side * shrink)) for side in (cameras.width, cameras.height))
    holes = render_points(cloud, cameras.resized(width, height), progress=progress).hole
    unknown = holes.float().mean((1, 2)).masked_fill(path.photo_index[frames] >= 0, 0)
    return (1 - unknown).tolist()
