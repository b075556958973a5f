"""Frames that somebody else made along a path, as views."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape
from ..errors import InputError
from ..progress import Progress
from ..render.points import render_scene
from ..trajectory.options import CameraPath
from ..types import Cameras, Scene, Views
from .base import Clip
from .clips import Stretch
from .fitting import MAX_MULTIPLE, fit_size
from .reel import Reel

SHAPE_TOLERANCE = 0.1
"""Share by which width over height may differ from the path's, however the sides were chosen."""


def views_from_frames(
    frames: Float[Tensor, "frame h w 3"],
    scene: Scene,
    path: CameraPath,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Views:
    """Take frames of any video model that followed a path.

    They are resampled whole to the path's size. Photos go back as themselves wherever the path
    passes through their cameras. `known` is what the scene's points cover; nobody has judged the
    frames, so there is no confidence.

    Args:
        frames: sRGB, one per camera of the path.
        scene: What they show.
        path: Where they were filmed.
        device: Torch device that draws the points.
        progress: Who is told.

    Raises:
        InputError: If count or shape are not the path's, or a value is not finite.
    """
    check_shape("Frames", frames, None, None, None, 3)
    height, width = frames.shape[1:3]
    cameras = path.cameras
    if len(frames) != len(path):
        raise InputError(
            f"{len(frames)} frames were given for a path of {len(path)} cameras; expected one per "
            "camera. Lay the path with the frame rule of your video model, and sample its length."
        )
    if not _has_shape_of(cameras, width, height):
        raise InputError(
            f"Frames of {width} x {height} do not have the shape of the path's "
            f"{cameras.width} x {cameras.height}; they would be squeezed. Lay the path with the "
            "width and height that your video model samples."
        )
    wrong = int((~torch.isfinite(frames)).sum())
    if wrong:
        raise InputError(
            f"Frames hold {wrong} of {frames.numel()} values that are not finite: the sampler or "
            "its VAE has overflowed. Run them in a higher precision."
        )
    renders = render_scene(scene, cameras, device=device, progress=progress)
    reel = Reel(scene, path)
    whole = Stretch(0, len(path) - 1)
    reel.add(whole, Clip(frames=frames.clamp(0, 1), confidence=None), ~renders.hole)
    return reel.finish()


def _has_shape_of(cameras: Cameras, width: int, height: int) -> bool:
    """Whether frames are shaped like the path's, or as near as a video model's multiples allow.

    Small sides are rounded by a large share of themselves: 72 x 48 by multiples of 16 to 64 x 48.
    """
    if abs(width * cameras.height / (height * cameras.width) - 1) <= SHAPE_TOLERANCE:
        return True
    largest = min(math.gcd(width, height), MAX_MULTIPLE)
    sizes = (fit_size(cameras.width, cameras.height, side) for side in range(1, largest + 1))
    return (width, height) in sizes
