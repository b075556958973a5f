"""From sparse points to a Scene: undistort, measure and fill depth.

Owns the order of the steps and what is said to the user of the result.
"""

import logging
import time

from ...ops.distortion import radial_lenses, undistort_photos
from ...ops.photos import resize_photos, select_photos
from ...progress import Progress
from ...types import CONFIDENT, Photos, Scene, SceneSource
from ..depth_maps import DepthMaps
from ..estimators.base import GeometryOptions
from ..fill import fill_depth
from ..scene import geometry_size, make_scene
from .dense import StereoInput, estimate_depth
from .exposure import describe_exposures, measure_exposures
from .neighbours import choose_sources, sparse_depths
from .sparse import SparseReconstruction

logger = logging.getLogger("reconx")

MAX_SOURCES = 4
"""Views that one view is matched against."""
LITTLE_MEASURED = 0.2
"""A photo with a smaller share of measured pixels earns a warning."""


def assemble_scene(
    photos: Photos, sparse: SparseReconstruction, options: GeometryOptions, progress: Progress
) -> Scene:
    """Turn cameras and sparse points into pointmaps.

    Args:
        photos: All photos, as loaded.
        sparse: Cameras of those that joined.
        options: Sizes, device and seed.
        progress: Told of dense stereo.

    Raises:
        AlignmentFailed: If no pixel of view 0, which the scene's scale hangs on, has a depth.
    """
    began = time.perf_counter()
    selected = select_photos(photos, list(sparse.photo_index))
    uneven = describe_exposures(selected, measure_exposures(selected, sparse))
    selected = undistort_photos(selected, sparse.cameras, radial_lenses(sparse.distortion))
    width, height = geometry_size(photos, options)
    small = resize_photos(selected, width, height)
    cameras = sparse.cameras.resized(width, height)
    stereo = StereoInput(
        images=small.images,
        valid=small.valid,
        cameras=cameras,
        sources=choose_sources(sparse, MAX_SOURCES),
        anchors=tuple(sparse_depths(sparse, v, cameras[v]) for v in range(len(cameras))),
    )
    measured = estimate_depth(stereo, device=options.device, seed=options.seed, progress=progress)
    stereo_done = time.perf_counter()
    filled = fill_depth(measured, small.images, small.valid, cameras, progress)
    fill_done = time.perf_counter()
    for text in uneven:
        logger.warning(text)
    warnings = sparse.warnings + uneven + _depth_warnings(measured, small)
    source = SceneSource(
        estimator="stereo",
        seconds={"dense stereo": stereo_done - began, "fill": fill_done - stereo_done},
        matches={
            (photos.names[i], photos.names[j]): count for (i, j), count in sparse.matches.items()
        },
        warnings=warnings,
    )
    return make_scene(selected, cameras, filled, source, options)


def _depth_warnings(maps: DepthMaps, photos: Photos) -> tuple[str, ...]:
    texts = []
    for name, confidence, valid in zip(photos.names, maps.confidence, photos.valid, strict=True):
        share = float((confidence >= CONFIDENT).sum() / valid.sum().clamp_min(1))
        if share < LITTLE_MEASURED:
            texts.append(
                f"Depth was measured in only {share:.0%} of {name}; the rest is guessed. Expect "
                "little there: blank, shiny or moving surfaces, or too little in common."
            )
            logger.warning(texts[-1])
    return tuple(texts)
