"""What two photos say of each other: matches that obey one epipolar geometry, and the pose.

RANSAC is poselib's, with a seed: the same matches give the same answer.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

RAY_CAMERA = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [1.0, 0.0, 0.0]}
"""poselib then takes normalised coordinates, so photos may have different lenses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPair:
    """Matches of photos i < j that agree with one fundamental matrix."""

    features: Int[np.ndarray, "match 2"]
    """Indices of features of photo i and of photo j."""
    first: Float[np.ndarray, "match 2"]
    """Their places in photo i, in centred pixels."""
    second: Float[np.ndarray, "match 2"]
    """Their places in photo j, in centred pixels."""

    def __len__(self) -> int:
        """Count the matches."""
        return len(self.features)


def epipolar_inliers(
    first: Float[np.ndarray, "match 2"],
    second: Float[np.ndarray, "match 2"],
    tolerance_px: float,
    seed: int,
) -> Bool[np.ndarray, " match"]:
    """True for matches that one fundamental matrix explains; all false below 8 matches."""
    import poselib

    if len(first) < 8:
        return np.zeros(len(first), dtype=bool)
    options = {"max_epipolar_error": tolerance_px, "max_iterations": 10000, "seed": seed}
    _, info = poselib.estimate_fundamental(first, second, options, {})
    return np.asarray(info["inliers"], dtype=bool)


def relative_pose(
    first: Float[np.ndarray, "match 2"],
    second: Float[np.ndarray, "match 2"],
    tolerance: float,
    seed: int,
    max_iterations: int = 5000,
) -> Float[np.ndarray, "3 4"]:
    """Motion from camera i to camera j, its translation of unit length.

    Args:
        first: Normalised coordinates in photo i.
        second: Normalised coordinates in photo j.
        tolerance: Sampson error up to which a match counts, in normalised units.
        seed: Of the sampling.
        max_iterations: Of RANSAC.
    """
    import poselib

    ransac = {
        "max_epipolar_error": tolerance,
        "max_iterations": max_iterations,
        "min_iterations": min(200, max_iterations),
        "seed": seed,
    }
    refine = {"loss_scale": tolerance / 2}
    pose, _ = poselib.estimate_relative_pose(first, second, RAY_CAMERA, RAY_CAMERA, ransac, refine)
    return np.hstack([pose.R, np.reshape(pose.t, (3, 1))])


def sampson_errors(
    pose: Float[np.ndarray, "3 4"],
    first: Float[np.ndarray, "match 2"],
    second: Float[np.ndarray, "match 2"],
) -> Float[np.ndarray, " match"]:
    """Sampson distance (Hartley and Zisserman, eq. 11.9) in normalised units."""
    x, y, z = pose[:, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ pose[:, :3]
    start = np.pad(first, ((0, 0), (0, 1)), constant_values=1.0)
    end = np.pad(second, ((0, 0), (0, 1)), constant_values=1.0)
    line, back = start @ essential.T, end @ essential
    gradient2 = np.square(line[:, :2]).sum(1) + np.square(back[:, :2]).sum(1)
    return np.abs((end * line).sum(1)) / np.sqrt(np.maximum(gradient2, 1e-18))


def turn_share(pair: VerifiedPair, long_side: float, tolerance_px: float, seed: int) -> float:
    """Share of a pair's matches that a turn of the camera on the spot explains.

    A homography that follows from a turn is K R K^-1 for some focal length; that of a flat scene
    seen from two places is not (Hartley and Zisserman, sec. 13.1). The focal length need not be
    known: the one under which the homography is most like a turn counts.
    """
    import poselib

    options = {"max_reproj_error": tolerance_px, "max_iterations": 2000, "seed": seed}
    homography, _ = poselib.estimate_homography(pair.first, pair.second, options, {})
    focals = long_side * np.geomspace(0.4, 4.0, 400)
    scale = np.stack([focals, focals, np.ones_like(focals)], axis=1)
    left, singular, right = np.linalg.svd(homography * scale[:, None] / scale[:, :, None])
    # A turn has equal singular values at the true focal length.
    best = int((singular[:, 0] / np.maximum(singular[:, 2], 1e-12)).argmin())
    turn = left[best] @ right[best] * np.linalg.det(left[best] @ right[best])
    start = np.pad(pair.first, ((0, 0), (0, 1)), constant_values=1.0)
    moved = (start / scale[best]) @ turn.T * scale[best]
    errors = np.linalg.norm(moved[:, :2] / moved[:, 2:] - pair.second, axis=1)
    return float((errors < tolerance_px).mean())
