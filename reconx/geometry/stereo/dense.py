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
from .matching_cost import MatchingCost, StereoView
from .patchmatch import DepthRange, PlaneSearch, upsample

RANGE_PERCENTILES = (1, 99)
RANGE_MARGIN = 1.5
"""Surfaces may lie this factor outside the depths of the sparse points."""
MAX_SWEEP_STEPS = 64
COARSE_SIDE = 48
"""The coarsest level has at least so many pixels on its short side."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Some rounds of PatchMatch on one level; between phases the views exchange their depths."""

    level: int
    """The images are 2**level times smaller than given."""
    rounds: int
    sigmas: tuple[float, ...]
    """Of the random changes, in pixels of parallax."""


def estimate_depth(stereo: StereoInput, *, device: str, seed: int, progress: Progress) -> DepthMaps:
    """Measure what at least two views show.

    Deterministic for one seed on one machine.

    Args:
        stereo: The views.
        device: Torch device of the work; the result lies on the CPU.
        seed: For the random refinement.
        progress: Told of every view of every phase, with the depth so far as preview.
    """
    active = [v for v, sources in enumerate(stereo.sources) if sources and len(stereo.anchors[v])]
    ranges = {view: depth_range(stereo.anchors[view][:, 2]) for view in active}
    phases = schedule(min(stereo.cameras.width, stereo.cameras.height))
    generator = torch.Generator().manual_seed(seed)
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
            judge = MatchingCost(views[view], [views[source] for source in sources])
            if number == 0:
                start = _nearest_anchors(stereo.anchors[view], stereo.cameras, views[view].camera)
                search = PlaneSearch(judge, ranges[view], start.to(device))
                search.sweep(MAX_SWEEP_STEPS)
            else:
                others = [before[source] for source in sources]
                search = PlaneSearch(judge, ranges[view], planes[view], others)
            for _ in range(phase.rounds):
                search.spread()
                search.refine(phase.sigmas, generator)
                search.average()
            planes[view] = search.planes
            done += 1
            task.update(done, partial(_preview, search.planes[0], ranges[view], stereo.cameras))
    return _judge_all(stereo, views, planes)


def _judge_all(
    stereo: StereoInput, views: dict[int, StereoView], planes: dict[int, Float[Tensor, "3 h w"]]
) -> DepthMaps:
    """Keep what another view confirms."""
    shape = stereo.valid.shape
    depth, confidence = torch.full(shape, torch.nan), torch.ones(shape)
    for view in views:
        sources = [source for source in stereo.sources[view] if source in views]
        judge = MatchingCost(views[view], [views[source] for source in sources])
        others = [planes[source][0] for source in sources]
        confidence[view] = judge_depth(judge, planes[view], others).cpu()
        measured = confidence[view] >= CONFIDENT
        depth[view] = torch.where(measured, 1 / planes[view][0].cpu(), torch.nan)
    return DepthMaps(depth=depth, confidence=confidence)


def schedule(short_side: int) -> tuple[Phase, ...]:
    """Most work on small images; at full size planes only settle and agree.

    The first phase knows of no other view's depth; all later ones ask for agreement.
    """
    coarsest = max(0, int(math.log2(max(1.0, short_side / COARSE_SIDE))))
    phases = [Phase(level=coarsest, rounds=3, sigmas=(8.0, 2.0, 0.7, 0.3))]
    for level in range(coarsest, 0, -1):
        phases += 2 * [Phase(level=level, rounds=1, sigmas=(2.0, 0.7, 0.3))]
    phases += 2 * [Phase(level=0, rounds=1, sigmas=(0.7, 0.25))]
    return tuple(phases)


def depth_range(inverse_depth: Float[Tensor, " point"]) -> DepthRange:
    """Where surfaces may lie, from the inverse depths of sparse points."""
    low, high = np.percentile(inverse_depth.numpy(), RANGE_PERCENTILES)
    return DepthRange(low=float(low / RANGE_MARGIN), high=float(high * RANGE_MARGIN))


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
