"""Depth of every view from its neighbours, coarse to fine. Owns the schedule of the work."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from ...ops.image import luminance, resize_images, resize_masks
from ...ops.projection import pixel_centres
from ...progress import Progress
from ...types import CONFIDENT, Cameras
from ..depth_maps import DepthMaps
from .consistency import judge_depth
from .matcher import DepthRange, Phase, StereoView, choose_matcher, make_matcher

RANGE_PERCENTILES = (1, 99)
RANGE_MARGIN = 1.5
"""Surfaces may lie this factor outside the depths of the sparse points."""
COARSE_SIDE = 96
"""A level has at least so many pixels on its short side: smaller pictures show small things as one
with what lies behind them, and larger ones believe it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StereoInput:
    """Undistorted views, and what sparse points say of them."""

    images: Float[Tensor, "view h w 3"]
    valid: Bool[Tensor, "view h w"]
    cameras: Cameras
    """At the images' size."""
    sources: tuple[tuple[int, ...], ...]
    """Per view, whom to match it against; may be empty."""
    anchors: tuple[Float[Tensor, "_ 3"], ...]
    """Per view, x, y in pixels and inverse depth of sparse points."""


_SEED_BITS = 2**63 - 1
"""Any whole number is a seed, but torch takes 64 bits and numpy none below zero."""
EFFORTS = {"fast": (3, 1, 2), "normal": (5, 4, 5), "high": (6, 6, 8)}
"""Rounds of the first phase, further phases at half size, phases at full size."""


def estimate_depth(
    stereo: StereoInput,
    *,
    device: str,
    seed: int,
    progress: Progress,
    effort: str = "normal",
    matcher: str | None = None,
) -> DepthMaps:
    """Measure what at least two views show.

    Deterministic for one seed on one machine.

    Args:
        stereo: The views.
        device: Torch device of the work; the result lies on the CPU.
        seed: For the random refinement.
        progress: Told of every view of every phase, with the depth so far as preview.
        effort: One of `EFFORTS`; more of it measures more pixels.
        matcher: One of `MATCHERS`; None for the one that suits the device.
    """
    name = matcher or choose_matcher(device)
    active = [v for v, sources in enumerate(stereo.sources) if sources and len(stereo.anchors[v])]
    ranges = {view: depth_range(stereo.anchors[view][:, 2]) for view in active}
    phases = schedule(min(stereo.cameras.width, stereo.cameras.height), effort)
    task = progress.start("Dense stereo", len(phases) * len(active))
    done = 0
    planes: dict[int, Float[Tensor, "3 h w"]] = {}
    views: dict[int, StereoView] = {}

    for number, phase in enumerate(phases):
        if number == 0 or phase.level != phases[number - 1].level:
            views = {view: _view_at_level(stereo, view, phase.level, device) for view in active}
            planes = {view: upsample(planes[view], *views[view].grey.shape) for view in planes}
        # All views of a phase see the others as the phase found them: their order does not matter.
        before = {view: planes[view][0] for view in planes}
        for view in active:
            sources = [source for source in stereo.sources[view] if source in views]
            others = [before[source] for source in sources] if number else None
            if not number:
                start = _nearest_anchors(stereo.anchors[view], stereo.cameras, views[view].camera)
                planes[view] = start.to(device)
            key = ((seed * len(phases) + number) * len(stereo.sources) + view) & _SEED_BITS
            seen = [views[source] for source in sources]
            judge = make_matcher(name, views[view], seen, ranges[view])
            planes[view] = judge.improve(planes[view], others, phase, key)
            done += 1
            task.update(done, partial(_preview, planes[view][0], ranges[view], stereo.cameras))
    return _judge_all(stereo, name, views, planes, ranges)


def _judge_all(
    stereo: StereoInput,
    matcher: str,
    views: dict[int, StereoView],
    planes: dict[int, Float[Tensor, "3 h w"]],
    ranges: dict[int, DepthRange],
) -> DepthMaps:
    """Keep what another view confirms."""
    depth = torch.full(stereo.valid.shape, torch.nan)
    confidence = torch.ones(stereo.valid.shape)
    for view in views:
        sources = [source for source in stereo.sources[view] if source in views]
        seen = [views[source] for source in sources]
        judge = make_matcher(matcher, views[view], seen, ranges[view])
        evidence = judge.inspect(planes[view], [planes[source][0] for source in sources])
        confidence[view] = judge_depth(evidence, planes[view][0]).cpu()
        measured = confidence[view] >= CONFIDENT
        depth[view] = torch.where(measured, 1 / planes[view][0].cpu(), torch.nan)
    return DepthMaps(depth=depth, confidence=confidence)


def schedule(short_side: int, effort: str = "normal") -> tuple[Phase, ...]:
    """At half size, or full size if small, find the planes; at full size they settle and agree.

    The first phase knows of no other view's depth; all later ones ask for agreement.
    """
    first, half, full = EFFORTS[effort]
    level = int(short_side >= 2 * COARSE_SIDE)
    phases = [Phase(level=level, rounds=first, sigmas=(8.0, 2.0, 0.7, 0.3), sweep=32)]
    phases += half * [Phase(level=level, rounds=1, sigmas=(2.0, 0.7, 0.3))]
    phases += full * [Phase(level=0, rounds=1, sigmas=(0.7, 0.25))]
    return tuple(phases)


def depth_range(inverse_depth: Float[Tensor, " point"]) -> DepthRange:
    """Where surfaces may lie, from the inverse depths of sparse points."""
    low, high = np.percentile(inverse_depth.numpy(), RANGE_PERCENTILES)
    return DepthRange(low=float(low / RANGE_MARGIN), high=float(high * RANGE_MARGIN))


def upsample(planes: Float[Tensor, "3 h w"], height: int, width: int) -> Float[Tensor, "3 H W"]:
    """Planes for a view twice as large: each pixel's plane read off at its four children."""
    value, slope_x, slope_y = planes.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    quarter = torch.tensor([-0.25, 0.25], device=planes.device)
    x, y = quarter.repeat(value.shape[1] // 2), quarter.repeat(value.shape[0] // 2)
    value = value + slope_x * x + slope_y * y[:, None]
    return torch.stack([value, slope_x / 2, slope_y / 2])[:, :height, :width]


def _view_at_level(stereo: StereoInput, view: int, level: int, device: str) -> StereoView:
    width, height = (math.ceil(n / 2**level) for n in (stereo.cameras.width, stereo.cameras.height))
    image = resize_images(stereo.images[view : view + 1], width, height)[0]
    valid = resize_masks(stereo.valid[view : view + 1], width, height)[0]
    grey = torch.where(valid, luminance(image), torch.nan)
    camera = stereo.cameras[view].resized(width, height)
    return StereoView(camera=camera, grey=grey.to(device), image=image.to(device))


def _nearest_anchors(
    anchors: Float[Tensor, "point 3"], cameras: Cameras, camera: Cameras
) -> Float[Tensor, "3 h w"]:
    """Fronto-parallel planes through the nearest sparse point of each pixel of a smaller camera."""
    scale = np.array([camera.width / cameras.width, camera.height / cameras.height])
    tree = KDTree(anchors[:, :2].numpy() * scale)
    _, nearest = tree.query(pixel_centres(camera.width, camera.height).numpy())
    planes = torch.zeros(3, camera.height, camera.width)
    planes[0] = anchors[:, 2][torch.as_tensor(nearest)]
    return planes


def _preview(
    inverse_depth: Float[Tensor, "h w"], limits: DepthRange, cameras: Cameras
) -> Float[Tensor, "H W 3"]:
    """Near is bright; at the views' size, however coarse the level."""
    bright = (inverse_depth - limits.low) / (limits.high - limits.low)
    picture = bright.clamp(0, 1).cpu()[None, ..., None].expand(-1, -1, -1, 3)
    return resize_images(picture, cameras.width, cameras.height)[0]
