"""What bundle adjustment solves: unknowns, observations, and how far they are apart.

Solved by `adjustment.adjust_bundle`. Owns no outlier policy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

PRIOR_COPIES = 50
"""Points that carry one prior, so that each lies where the robust loss is still quadratic."""


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
