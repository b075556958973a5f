"""Depth that networks have found: as a scene of its own, or for what a scene lacks.

Owns how far such depth is trusted; how other programs write it down is known by their callers.
"""

import logging
import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from ..errors import InputError
from ..ops.photos import resize_photos
from ..ops.projection import unproject_depth, world_to_camera
from ..progress import Progress
from ..types import CONFIDENT, FILLED, Cameras, Photos, Scene, SceneSource
from .align.cleaning import clean_confidence
from .depth_maps import (
    DepthMaps,
    GivenDepth,
    hides_measured,
    resample_maps,
    without_flying,
    without_hiding,
)
from .estimators.base import GeometryOptions
from .fill import fill_depth
from .scene import geometry_size, make_scene, replace_points

logger = logging.getLogger("reconx")

MOST_CONFIDENT = 10.0
DOUBTED = 1.05
DOUBTED_PERCENTILES = (10, 90)
"""A network's confidence from which its depth counts, kept between these percentiles: as Depth
Anything 3's own tools choose it."""
CONFLICT_SHARE = 0.05
"""A depth before another photo's surer one by more than this share is doubted."""
LEAST_COMMON = 100
"""Pixels, measured and given, that tell the scale between the two."""
BLEND_SHARE = 0.05
"""Of the long side: the way over which given depth bends to meet what was measured."""
POOR_FIT = 0.15
"""Given depth that differs more from what was measured, after scaling, earns a warning."""


def scene_from_depth(
    photos: Photos, given: GivenDepth, options: GeometryOptions, progress: Progress
) -> Scene:
    """Make a scene of depth with poses, or of the depth of one photo.

    What a network is sure of counts as measured, unless it stands in front of what it is surer of
    in another photo. Known poses of the photos (`photos.prior`) say where the world is; the
    cameras themselves are the given ones.

    Args:
        photos: The very pictures that the depth was found in, as loaded.
        given: Their depth.
        options: Sizes; the pointmaps are never larger than the depth.
        progress: Told of filling.

    Raises:
        InputError: If depth and photos differ in number or shape, or poses or a focal length lack.
        AlignmentFailed: If nothing is known of photo 1.
    """
    _check_same(photos, given)
    return scene_from_network(photos, given, options, progress)


def scene_from_network(
    photos: Photos, given: GivenDepth, options: GeometryOptions, progress: Progress
) -> Scene:
    """As `scene_from_depth`, of depth that surely is that of these photos.

    The depth's sides may be rounded: its pixels are then not quite square.
    """
    cameras = _cameras(photos, given)
    source = SceneSource(estimator=given.estimator, licence=given.licence)
    cameras, maps = fit_maps(photos, cameras, _trusted(given), options)
    everybody = [(i, j) for i in range(len(cameras)) for j in range(len(cameras)) if i != j]
    cleaned = clean_confidence(maps.depth, maps.confidence, cameras, everybody, CONFLICT_SHARE)
    return scene_from_maps(
        photos, cameras, replace(maps, confidence=cleaned), source, options, progress
    )


def fit_maps(
    photos: Photos, cameras: Cameras, maps: DepthMaps, options: GeometryOptions
) -> tuple[Cameras, DepthMaps]:
    """Bring a network's maps, and the cameras at their size, to the scene's size.

    Never to a larger one. Points between surfaces are dropped.
    """
    side = min(options.geometry_size, max(cameras.width, cameras.height))
    width, height = geometry_size(photos, replace(options, geometry_size=side))
    return cameras.resized(width, height), resample_maps(without_flying(maps), width, height)


def scene_from_maps(
    photos: Photos,
    cameras: Cameras,
    maps: DepthMaps,
    source: SceneSource,
    options: GeometryOptions,
    progress: Progress,
) -> Scene:
    """Make a scene of what a network says of all photos.

    Below `CONFIDENT` its depths are guesses; gaps and sky are filled.

    Args:
        photos: Undistorted, as loaded.
        cameras: One per photo, at the maps' size, in any world.
        maps: Depth and confidence, as `fit_maps` makes them.
        source: Where they came from.
        options: The fit's size.
        progress: Told of filling.

    Raises:
        AlignmentFailed: If no pixel of view 0 has a depth.
    """
    small = resize_photos(photos, cameras.width, cameras.height)
    maps = replace(maps, depth=torch.where(small.valid, maps.depth, torch.nan))
    maps = without_hiding(maps, cameras)
    filled = fill_depth(maps, small.images, small.valid, cameras, progress)
    return make_scene(photos, cameras, filled, source, options)


def _check_same(photos: Photos, given: GivenDepth) -> None:
    views, height, width = given.depth.shape
    if views != len(photos):
        raise InputError(
            f"The geometry speaks of {views} pictures, but there are {len(photos)} photos. "
            "Estimate it from the 'images' of the node that loads the photos."
        )
    if abs(width / height / (photos.width / photos.height) - 1) > 0.02:
        raise InputError(
            f"The geometry's pictures have {width} x {height} pixels, the photos "
            f"{photos.width} x {photos.height}: another shape. Estimate it from the 'images' of "
            "the node that loads the photos."
        )


def _cameras(photos: Photos, given: GivenDepth) -> Cameras:
    """The given cameras at the depth's size; for one photo without, what is known of its lens."""
    count, height, width = given.depth.shape
    poses, K = given.camera_to_world, given.K
    if poses is None:
        if count > 1:
            raise InputError(
                f"{given.estimator} has measured each of the {count} photos alone and does not "
                "tell where they were taken. Connect a scene from Build Point Cloud for it to "
                "fill, run it in multi-view mode, or load one photo."
            )
        poses = torch.eye(4)[None]
    if K is None:
        K = None if photos.prior is None else photos.prior.K
        if K is None or not bool(K.isfinite().all()):
            raise InputError(
                f"{given.estimator} tells no focal length, and none is known of photo 1 "
                f"({photos.names[0]}). Give the lens where the photo comes in."
            )
        scale = torch.tensor([width / photos.width, height / photos.height, 1.0])
        K = K * scale[:, None]
    return Cameras(camera_to_world=poses, K=K, width=width, height=height)


def _trusted(given: GivenDepth) -> DepthMaps:
    """Confidence on our scale: `CONFIDENT` where the network's own tools begin to show a depth."""
    depth = given.depth
    known = depth.isfinite()
    confidence = torch.full_like(depth, CONFIDENT)
    if given.confidence is not None and bool(known.any()):
        raw = given.confidence[known].numpy()
        limit = float(np.clip(DOUBTED, *np.percentile(raw, DOUBTED_PERCENTILES)))
        above = (given.confidence - 1) / max(limit - 1, 1e-6)
        confidence = (1 + (CONFIDENT - 1) * above).clamp(1, MOST_CONFIDENT)
    return DepthMaps(depth=depth, confidence=torch.where(known, confidence, 1.0))


def fill_scene(scene: Scene, photos: Photos, given: GivenDepth, progress: Progress) -> Scene:
    """Put given depth where a scene has only guesses.

    Each photo's depth is scaled to what was measured there, and bent towards it nearby. It never
    hides what another photo measured, and its confidence is at most `FILLED`.

    Args:
        scene: What was measured in it stays.
        photos: The photos that the depth was found in, the scene's among them by name. Lens
            distortion that the scene has removed from its own is not removed from the depth.
        given: Depth of each photo; poses and intrinsics are not needed.
        progress: Told of filling.

    Raises:
        InputError: If depth and photos differ in number or shape, or a photo of the scene is
            not among them.
    """
    _check_same(photos, given)
    missing = sorted(set(scene.photos.names) - set(photos.names))
    if missing:
        raise InputError(
            f"The scene's photo {missing[0]} is not among the photos that the depth was found in "
            f"({', '.join(photos.names)}). Connect the photos that the scene was built from."
        )
    index = [photos.names.index(name) for name in scene.photos.names]
    cameras, measured = scene.cameras, _measured(scene)
    maps = without_flying(DepthMaps(depth=given.depth, confidence=torch.ones_like(given.depth)))
    guess = resample_maps(maps, cameras.width, cameras.height).depth[index]
    small = resize_photos(scene.photos, cameras.width, cameras.height)
    depth, confidence, warnings = measured.depth.clone(), measured.confidence.clone(), []
    for view, name in enumerate(scene.photos.names):
        fitted, misfit = _fit_to_measured(guess[view], measured.depth[view])
        fitted = torch.where(small.valid[view] & measured.depth[view].isnan(), fitted, torch.nan)
        kept = fitted.isfinite() & ~hides_measured(fitted, view, measured, cameras)
        depth[view] = torch.where(kept, fitted, depth[view])
        trust = 1 + (FILLED - 1) * math.exp(-misfit / POOR_FIT)
        confidence[view] = torch.where(kept, trust, confidence[view])
        if misfit > POOR_FIT:
            warnings.append(
                f"{given.estimator}'s depth of {name} is off by {misfit:.0%} from what was "
                "measured; gaps filled with it are coarse."
            )
            logger.warning(warnings[-1])
    maps = DepthMaps(depth=depth, confidence=confidence)
    maps = fill_depth(maps, small.images, small.valid, cameras, progress)
    source = replace(
        scene.source,
        licence=f"{scene.source.licence}; where filled: {given.licence}",
        warnings=(*scene.source.warnings, *warnings),
    )
    filled = replace_points(scene, unproject_depth(maps.depth, cameras), maps.confidence)
    return replace(filled, source=source)


def _measured(scene: Scene) -> DepthMaps:
    """Depth of what was measured; of a photo of which too little was, all that is known."""
    enough = scene.measured.sum(dim=(1, 2), keepdim=True) >= LEAST_COMMON
    kept = torch.where(enough, scene.measured, scene.valid)
    local = zip(scene.points, scene.cameras.viewmats, strict=True)
    z = torch.stack([world_to_camera(points, viewmat)[..., 2] for points, viewmat in local])
    return DepthMaps(
        depth=torch.where(kept, z, torch.nan), confidence=torch.where(kept, scene.confidence, 1.0)
    )


def _fit_to_measured(
    guess: Float[Tensor, "h w"], measured: Float[Tensor, "h w"]
) -> tuple[Float[Tensor, "h w"], float]:
    """A guess at the scale of what was measured, and by what share the two differ.

    The scale is the median ratio. Around measured pixels the guess also takes over how these differ
    from it, so that it meets them; ratios beyond three times the usual are mistakes of either.
    """
    both = guess.isfinite() & measured.isfinite()
    if int(both.sum()) < LEAST_COMMON:
        return torch.full_like(guess, torch.nan), 0.0
    ratio = (measured / guess).log()
    scale = ratio[both].median()
    residual = torch.where(both, ratio - scale, 0.0)
    misfit = float(residual[both].abs().median())
    near = both & (residual.abs() < 3 * 1.4826 * max(misfit, 1e-6))
    correction = _spread(residual, near)
    return guess * torch.exp(scale + correction), misfit


def _spread(values: Float[Tensor, "h w"], known: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Values where they are known, fading to 0 away from there."""
    sigma = BLEND_SHARE * max(values.shape)
    weights = known.double().numpy()
    total = ndimage.gaussian_filter(weights * values.double().numpy(), sigma)
    share = ndimage.gaussian_filter(weights, sigma)
    return torch.from_numpy(total / (share + 0.01)).to(values)
