"""Bundle adjustment by Ceres, through pycolmap."""

from dataclasses import replace
from typing import Any

import numpy as np
import pycolmap

from .bundle import PRIOR_COPIES, Bundle, BundleOptions, prior_pull


def adjust_with_ceres(bundle: Bundle, options: BundleOptions) -> Bundle:
    """Same contract as `adjust_bundle`."""
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
    entry = pycolmap.Image(
        name=str(image), keypoints=pixels, camera_id=int(lens) + 1, image_id=image + 1
    )
    model.add_image_with_trivial_frame(entry, pycolmap.Rigid3d(pose))
