"""Points of the world from their observations in posed photos. All tracks at once."""

import numpy as np
from jaxtyping import Bool, Float, Int

MIN_ANGLE_DEGREES = 1.0
"""Rays closer to parallel than this do not fix a depth."""


def triangulate(
    poses: Float[np.ndarray, "observation 3 4"],
    rays: Float[np.ndarray, "observation 2"],
    track: Int[np.ndarray, " observation"],
    count: int,
    tolerance: Float[np.ndarray, " observation"],
) -> tuple[Float[np.ndarray, "count 3"], Bool[np.ndarray, " observation"]]:
    """Triangulate tracks and drop the observations that contradict.

    A track that does not fit loses its worst observation and is tried again, down to two.

    Args:
        poses: World to camera, one per observation.
        rays: Normalised coordinates.
        track: Track of each observation.
        count: Number of tracks.
        tolerance: Reprojection error up to which an observation fits, in normalised units.

    Returns:
        World points, NaN for tracks without a sound point (fewer than two views, behind a camera,
        rays almost parallel), and true for the observations that support a point.
    """
    ids, track = np.unique(track, return_inverse=True)
    points, kept, changed = np.full((len(ids), 3), np.nan), np.ones(len(track), bool), ids >= 0
    while True:
        index = np.flatnonzero(kept & changed[track])
        points[changed] = _intersect(poses[index], rays[index], track[index], len(ids))[changed]
        errors = ray_errors(poses[index], rays[index], points[track[index]]) / tolerance[index]
        worst = np.zeros(len(ids))
        np.maximum.at(worst, track[index], errors)
        views = np.bincount(track[index], minlength=len(ids))
        drop = (errors == worst[track[index]]) & (errors > 1) & (views[track[index]] > 2)
        kept[index[drop]] = False
        changed = np.isin(np.arange(len(ids)), track[index[drop]])
        if not changed.any():
            break
    index = np.flatnonzero(kept)
    errors = ray_errors(poses[index], rays[index], points[track[index]]) / tolerance[index]
    sound = np.bincount(track[index], minlength=len(ids)) >= 2
    sound[track[index][~(errors <= 1)]] = False  # NaN does not fit either
    index = index[sound[track[index]]]
    angles = _angles(poses[index], points[track[index]], track[index], len(ids))
    sound &= angles >= MIN_ANGLE_DEGREES
    result = np.full((count, 3), np.nan)
    result[ids[sound]] = points[sound]
    return result, kept & sound[track]


def ray_errors(
    poses: Float[np.ndarray, "n 3 4"],
    rays: Float[np.ndarray, "n 2"],
    points: Float[np.ndarray, "n 3"],
) -> Float[np.ndarray, " n"]:
    """Reprojection errors in normalised units; infinite behind the camera."""
    local = np.einsum("nij,nj->ni", poses[:, :, :3], points) + poses[:, :, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.linalg.norm(local[:, :2] / local[:, 2:] - rays, axis=1)
    return np.where(local[:, 2] > 0, errors, np.inf)


def pair_angles_degrees(
    pose: Float[np.ndarray, "3 4"], points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    """Angle under which points are seen from the origin and from a second camera."""
    other = points + pose[:, :3].T @ pose[:, 3]  # from the second centre, -R^T t
    cosine = (points * other).sum(1)
    cosine = cosine / (np.linalg.norm(points, axis=1) * np.linalg.norm(other, axis=1))
    return np.degrees(np.arccos(np.minimum(cosine, 1.0)))


def _intersect(
    poses: Float[np.ndarray, "n 3 4"],
    rays: Float[np.ndarray, "n 2"],
    track: Int[np.ndarray, " n"],
    count: int,
) -> Float[np.ndarray, "count 3"]:
    """Linear triangulation (Hartley and Zisserman, sec. 12.2) from any number of views."""
    rows = rays[:, :, None] * poses[:, 2:3] - poses[:, :2]
    normal = np.zeros((count, 4, 4))
    np.add.at(normal, track, np.einsum("nki,nkj->nij", rows, rows))
    homogeneous = np.linalg.eigh(normal)[1][:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return homogeneous[:, :3] / homogeneous[:, 3:]


def _angles(
    poses: Float[np.ndarray, "n 3 4"],
    points: Float[np.ndarray, "n 3"],
    track: Int[np.ndarray, " n"],
    count: int,
) -> Float[np.ndarray, " count"]:
    """Largest angle in degrees between a track's first ray and its others.

    At least half of the largest between any two, at a cost linear in the views.
    """
    centres = -np.einsum("nji,nj->ni", poses[:, :, :3], poses[:, :, 3])
    directions = points - centres
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    _, first = np.unique(track, return_index=True)
    reference = np.zeros((count, 3))
    reference[track[first]] = directions[first]
    cosine = (directions * reference[track]).sum(1)
    angles = np.zeros(count)
    np.maximum.at(angles, track, np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return angles
