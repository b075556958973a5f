"""Bundle adjustment by scipy: sparse trust-region least squares, finite differences."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from .bundle import PRIOR_COPIES, Bundle, BundleOptions, prior_pull, project


def adjust_with_scipy(bundle: Bundle, options: BundleOptions) -> Bundle:
    """Same contract as `adjust_bundle`.

    The Jacobian is taken by finite differences over groups of columns that share no row: a dozen
    projections per step, whatever the number of views and points.
    """
    from scipy.optimize import least_squares

    target, weight = prior_pull(bundle, options)
    scale = weight / np.sqrt(2 * PRIOR_COPIES)

    def residuals(step: Float[np.ndarray, " unknown"]) -> Float[np.ndarray, " residual"]:
        moved = _moved(bundle, options, step)
        errors = project(moved)[0] - bundle.observed_pixel
        prior = np.repeat(scale * (moved.focal - target), 2 * PRIOR_COPIES)
        return np.concatenate([errors.ravel(), prior])

    sparsity = _sparsity(bundle, options)
    solution = least_squares(
        residuals,
        np.zeros(sparsity.shape[1]),
        jac_sparsity=sparsity,
        x_scale="jac",
        loss="soft_l1",
        f_scale=options.loss_px,
        ftol=options.tolerance,
        max_nfev=options.max_iterations,
    )
    return _moved(bundle, options, solution.x)


def _moved(bundle: Bundle, options: BundleOptions, step: Float[np.ndarray, " unknown"]) -> Bundle:
    """Apply a step: (rotation, shift) per free view, log focal and k1, k2 per lens, points."""
    from scipy.spatial.transform import Rotation

    free = np.flatnonzero(~bundle.fixed)
    lenses = len(bundle.focal)
    ends = np.cumsum([6 * len(free), lenses, 2 * lenses])
    motion, focal, radial, points = np.split(step, ends)
    motion = motion.reshape(-1, 6)
    poses = bundle.world_to_camera.copy()
    turns = Rotation.from_rotvec(motion[:, :3]).as_matrix()
    poses[free, :, :3] = turns @ poses[free, :, :3]
    poses[free, :, 3] += motion[:, 3:]
    estimated = np.arange(2) < options.radial_terms
    return replace(
        bundle,
        world_to_camera=poses,
        focal=bundle.focal * np.exp(np.where(options.focal_sigma > 0, focal, 0.0)),
        distortion=bundle.distortion + radial.reshape(-1, 2) * estimated,
        points=bundle.points + points.reshape(-1, 3),
    )


def _sparsity(bundle: Bundle, options: BundleOptions) -> Any:
    """Which residual depends on which unknown."""
    from scipy.sparse import coo_array

    free = np.flatnonzero(~bundle.fixed)
    lenses, observations = len(bundle.focal), len(bundle.observed_view)
    slot = np.full(len(bundle.fixed), -1)
    slot[free] = np.arange(len(free))
    view = slot[bundle.observed_view]
    lens = bundle.lens[bundle.observed_view]
    after_views, after_lenses = 6 * len(free), 6 * len(free) + 3 * lenses
    columns = np.concatenate(
        [
            np.where(view[:, None] >= 0, 6 * view[:, None] + np.arange(6), -1),
            after_views + lens[:, None],
            after_views + lenses + 2 * lens[:, None] + np.arange(2),
            after_lenses + 3 * bundle.observed_point[:, None] + np.arange(3),
        ],
        axis=1,
    )
    rows = np.broadcast_to(np.arange(observations)[:, None], columns.shape)
    used = columns >= 0
    rows, columns = rows[used], columns[used]
    prior = np.arange(2 * PRIOR_COPIES * lenses)
    rows = np.concatenate([2 * rows, 2 * rows + 1, 2 * observations + prior])
    columns = np.concatenate([columns, columns, after_views + prior // (2 * PRIOR_COPIES)])
    shape = (2 * observations + len(prior), after_lenses + 3 * len(bundle.points))
    return coo_array((np.ones(len(rows)), (rows, columns)), shape=shape)
