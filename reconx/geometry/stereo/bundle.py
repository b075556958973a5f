"""Bundle adjustment: cameras, lenses and points that explain all observations best.

One function, `adjust_bundle`, over two solvers: Ceres through pycolmap, or scipy's sparse least
squares where pycolmap cannot be imported. Owns no outlier policy.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .colmap import has_pycolmap


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The unknowns and what was observed, all in centred pixels (see `lenses`)."""

    world_to_camera: Float[np.ndarray, "view 3 4"]
    """Rigid poses."""
    fixed: Bool[np.ndarray, " view"]
    """Poses that stay; at least one, or the world would float."""
    lens: Int[np.ndarray, " view"]
    """Lens of each view."""
    focal: Float[np.ndarray, " lens"]
    """In centred pixels."""
    distortion: Float[np.ndarray, "lens 2"]
    """Radial k1, k2 on normalised coordinates."""
    points: Float[np.ndarray, "point 3"]
    """In the world."""
    observed_view: Int[np.ndarray, " observation"]
    """View of each observation."""
    observed_point: Int[np.ndarray, " observation"]
    """Point of each observation."""
    observed_pixel: Float[np.ndarray, "observation 2"]
    """Centred pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """What may move, and what is believed beforehand."""

    focal_prior: Float[np.ndarray, " lens"]
    """Expected focal lengths."""
    focal_sigma: Float[np.ndarray, " lens"]
    """Their relative standard deviations; 0 keeps the focal length fixed."""
    prior_share: float = 0.005
    """At one sigma from the prior, it costs as much as this share of a lens's observations, each
    off by a pixel. A prior that did not grow with them would fade against thousands of
    observations whose errors are not independent, and the focal length would drift."""
    radial_terms: int = 0
    """How many of k1, k2 are estimated; the others stay."""
    loss_px: float = 1.0
    """Soft-L1 loss: quadratic well below, linear well above."""
    max_iterations: int = 50
    """Solver steps."""
    tolerance: float = 1e-6
    """Stop when a step lowers the cost by less than this share."""


def adjust_bundle(bundle: Bundle, options: BundleOptions) -> Bundle:
    """Minimise robust reprojection errors plus a prior on the focal lengths.

    The prior is normal in the focal length around its value that the log-normal one has at the
    bundle's focal length, so that repeated calls settle on the log-normal prior.
    """
    if has_pycolmap():
        return _adjust_with_pycolmap(bundle, options)
    from .bundle_scipy import adjust_with_scipy

    return adjust_with_scipy(bundle, options)


def prior_pull(
    bundle: Bundle, options: BundleOptions
) -> tuple[Float[np.ndarray, " lens"], Float[np.ndarray, " lens"]]:
    """Target focal length and weight w of each lens: the prior's residual is w (focal - target).

    Linearises sqrt(prior_share n) / sigma * log(focal / focal_prior) at the current focal length.
    """
    seen = np.bincount(bundle.lens[bundle.observed_view], minlength=len(bundle.focal))
    free = options.focal_sigma > 0
    sigma = np.where(free, options.focal_sigma, 1.0)
    weight = np.where(free, np.sqrt(options.prior_share * seen) / (sigma * bundle.focal), 0.0)
    target = bundle.focal * (1 - np.log(bundle.focal / options.focal_prior))
    return target, weight


def project(
    bundle: Bundle,
) -> tuple[Float[np.ndarray, "observation 2"], Float[np.ndarray, " observation"]]:
    """Where each observation should lie, in centred pixels, and its z-depth."""
    poses = bundle.world_to_camera[bundle.observed_view]
    points = bundle.points[bundle.observed_point]
    local = np.einsum("nij,nj->ni", poses[:, :, :3], points) + poses[:, :, 3]
    rays = local[:, :2] / local[:, 2:]
    radius2 = np.square(rays).sum(1)
    lens = bundle.lens[bundle.observed_view]
    k1, k2 = bundle.distortion[lens].T
    factor = bundle.focal[lens] * (1 + k1 * radius2 + k2 * radius2**2)
    return rays * factor[:, None], local[:, 2]


def reprojection_errors(bundle: Bundle) -> Float[np.ndarray, " observation"]:
    """Distances in pixels between observed and expected places."""
    return np.linalg.norm(project(bundle)[0] - bundle.observed_pixel, axis=1)


PRIOR_COPIES = 50
"""Points that carry one prior, so that each lies where the robust loss is still quadratic."""


def _adjust_with_pycolmap(bundle: Bundle, options: BundleOptions) -> Bundle:
    import pycolmap

    model = _build_model(bundle, options)
    config = pycolmap.BundleAdjustmentConfig()
    for image in model.images:
        config.add_image(image)
    views = len(bundle.world_to_camera)
    for view in [*np.flatnonzero(bundle.fixed), *range(views, model.num_images())]:
        config.set_constant_rig_from_world_pose(int(view) + 1)
    # COLMAP frees the focal length for all lenses or for none; a known one among unknown ones
    # therefore keeps its distortion as well.
    known = options.focal_sigma == 0
    for lens in np.flatnonzero(known & ((options.radial_terms == 0) | ~known.all())):
        config.set_constant_cam_intrinsics(int(lens) + 1)
    for point in range(len(bundle.points) + 1, model.num_points3D() + 1):
        config.add_constant_point(point)
    model_options = _ceres_options(options)
    pycolmap.create_default_bundle_adjuster(model_options, config, model).solve()
    poses = np.stack([model.images[v + 1].cam_from_world().matrix() for v in range(views)])
    parameters = np.stack([model.cameras[k + 1].params for k in range(len(bundle.focal))])
    terms = parameters.shape[1] - 3
    distortion = bundle.distortion.copy()
    distortion[:, :terms] = parameters[:, 3:]
    points = np.stack([model.points3D[p + 1].xyz for p in range(len(bundle.points))])
    return replace(
        bundle,
        world_to_camera=poses,
        focal=parameters[:, 0].copy(),
        distortion=distortion,
        points=points,
    )


def _ceres_options(options: BundleOptions) -> Any:
    import pycolmap

    ceres = pycolmap.BundleAdjustmentOptions()
    ceres.refine_focal_length = bool((options.focal_sigma > 0).any())
    ceres.refine_extra_params = options.radial_terms > 0
    ceres.print_summary = False
    ceres.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
    ceres.ceres.loss_function_scale = options.loss_px
    ceres.ceres.solver_options.num_threads = 1  # sums in one order: the same bytes every time
    ceres.ceres.solver_options.max_num_iterations = options.max_iterations
    ceres.ceres.solver_options.function_tolerance = options.tolerance
    return ceres


def _build_model(bundle: Bundle, options: BundleOptions) -> Any:
    """The bundle as a COLMAP model; ids are ours + 1.

    COLMAP knows no focal prior. A calibration target states it: constant points at (x, 0, 1)
    before a camera that does not move, seen where the expected focal length puts them.
    """
    import pycolmap

    model = pycolmap.Reconstruction()
    name = "SIMPLE_RADIAL" if options.radial_terms == 1 else "RADIAL"
    terms = 1 if options.radial_terms == 1 else 2
    for lens, focal in enumerate(bundle.focal):
        parameters = [focal, 0.0, 0.0, *bundle.distortion[lens, :terms]]
        camera = pycolmap.Camera(
            camera_id=lens + 1, model=name, width=1, height=1, params=parameters
        )
        model.add_camera_with_trivial_rig(camera)
    slot = np.zeros(len(bundle.observed_view), dtype=np.int64)
    for view, pose in enumerate(bundle.world_to_camera):
        mine = np.flatnonzero(bundle.observed_view == view)
        slot[mine] = np.arange(len(mine))
        _add_image(model, view, bundle.lens[view], bundle.observed_pixel[mine], pose)
    order = np.argsort(bundle.observed_point, kind="stable")
    ends = np.cumsum(np.bincount(bundle.observed_point, minlength=len(bundle.points)))
    views, slots = (bundle.observed_view + 1).tolist(), slot.tolist()
    for point, rows in enumerate(np.split(order, ends[:-1])):
        elements = [pycolmap.TrackElement(views[row], slots[row]) for row in rows.tolist()]
        model.add_point3D(bundle.points[point], pycolmap.Track(elements))
    target, weight = prior_pull(bundle, options)
    for lens in np.flatnonzero(weight):
        images = [model.num_images(), model.num_images() + 1]  # COLMAP wants every point seen twice
        x = weight[lens] / np.sqrt(len(images) * PRIOR_COPIES)
        pixels = np.tile([x * target[lens], 0.0], (PRIOR_COPIES, 1))
        for image in images:
            _add_image(model, image, lens, pixels, np.eye(3, 4))
        for copy in range(PRIOR_COPIES):
            elements = [pycolmap.TrackElement(image + 1, copy) for image in images]
            model.add_point3D(np.array([x, 0.0, 1.0]), pycolmap.Track(elements))
    return model


def _add_image(
    model: Any, image: int, lens: int | np.integer, pixels: np.ndarray, pose: np.ndarray
) -> None:
    import pycolmap

    entry = pycolmap.Image(
        name=str(image), keypoints=pixels, camera_id=int(lens) + 1, image_id=image + 1
    )
    model.add_image_with_trivial_frame(entry, pycolmap.Rigid3d(pose))
