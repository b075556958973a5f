"""From sparse points to a Scene: undistort, measure and fill depth, normalise.

Owns the order of the steps and what is said to the user of the result.
"""

import logging
import time
from dataclasses import replace

from ...errors import AlignmentFailed
from ...ops.image import undistort_image
from ...ops.photos import fit_size, resize_photos, select_photos
from ...ops.projection import unproject_depth
from ...ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points, fit_sim3_to_cameras
from ...progress import Progress
from ...types import CONFIDENT, Cameras, Photos, Scene, SceneSource, Sim3
from ..estimators.base import GeometryOptions
from ..upright import estimate_up, stand_upright
from .dense import DepthMaps, StereoInput, estimate_depth
from .fill import fill_depth
from .neighbours import choose_sources, sparse_depths
from .sparse import SparseReconstruction

logger = logging.getLogger("reconx")

SIZE_MULTIPLE = 8
"""Sides of pictures and pointmaps; the pyramid halves them without a rest."""
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
    selected = undistort_photos(selected, sparse)
    width, height = fit_size(photos.width, photos.height, options.fit_size, SIZE_MULTIPLE)
    fitted = resize_photos(selected, width, height)
    long_side = min(options.geometry_size, options.fit_size)
    width, height = fit_size(photos.width, photos.height, long_side, SIZE_MULTIPLE)
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
    warnings = sparse.warnings + _depth_warnings(measured, small)
    source = SceneSource(
        estimator="stereo",
        seconds={"dense stereo": stereo_done - began, "fill": fill_done - stereo_done},
        matches={
            (photos.names[i], photos.names[j]): count for (i, j), count in sparse.matches.items()
        },
        warnings=warnings,
    )
    return _normalised(fitted, sparse.cameras, cameras, filled, source)


def undistort_photos(photos: Photos, sparse: SparseReconstruction) -> Photos:
    """The registered photos as pinhole cameras would have taken them, at the same size and K.

    `valid` loses the border that the lens did not see. `to_original` keeps leading to the
    original's frame, where it is exact but for the distortion.
    """
    if not sparse.distortion.any():
        return photos
    images, valid = photos.images.clone(), photos.valid.clone()
    for view in range(len(photos)):
        camera, distortion = sparse.cameras[view], sparse.distortion[view]
        images[view], inside = undistort_image(photos.images[view], camera, distortion)
        known, _ = undistort_image(photos.valid[view, ..., None].float(), camera, distortion)
        valid[view] = inside & (known[..., 0] > 0.999)
    prior = photos.prior
    if prior is not None:
        prior = replace(prior, distortion=None)
    return replace(photos, images=images, valid=valid, prior=prior)


def _normalised(
    photos: Photos, full: Cameras, cameras: Cameras, maps: DepthMaps, source: SceneSource
) -> Scene:
    """Bring view 0 to the identity and its median depth to 1."""
    known = maps.depth[0].isfinite()
    if not known.any():
        raise AlignmentFailed(
            f"No depth was found in photo 1 ({photos.names[0]}): no other photo shows enough of "
            "it. Add a photo taken one step to the side, or leave this one out."
        )
    rotation = cameras.camera_to_world[0, :3, :3].mT
    scale = 1 / float(maps.depth[0][known].median())
    to_scene = Sim3(
        rotation=rotation, translation=-scale * (rotation @ cameras.centers[0]), scale=scale
    )
    points = apply_sim3_to_points(to_scene, unproject_depth(maps.depth, cameras))
    scene_cameras = apply_sim3_to_cameras(to_scene, cameras)
    given = _given_world(photos, scene_cameras)
    scene = Scene(
        photos=photos,
        photo_cameras=replace(
            scene_cameras,
            K=full.resized(photos.width, photos.height).K,
            width=photos.width,
            height=photos.height,
        ),
        cameras=scene_cameras,
        points=points,
        confidence=maps.confidence,
        valid=maps.depth.isfinite(),
        up=estimate_up(scene_cameras),
        world_from_scene=to_scene.inverse() if given is None else given,
        source=source,
    )
    # Nobody has said where the world is, so it may as well stand upright in a viewer.
    return stand_upright(scene, "cameras") if given is None else scene


def _given_world(photos: Photos, cameras: Cameras) -> Sim3 | None:
    """The way to the user's poses, where at least two were given."""
    if photos.prior is not None and photos.prior.camera_to_world is not None:
        given = photos.prior.camera_to_world
        index = given.isfinite().all(dim=(1, 2)).nonzero()[:, 0]
        if len(index) >= 2:
            return fit_sim3_to_cameras(
                cameras[index], replace(cameras[index], camera_to_world=given[index])
            )
    return None


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
