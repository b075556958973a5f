"""Places photos in one world: a pair to start from, then one photo after another.

Incremental structure from motion (Schoenberger and Frahm, CVPR 2016, in outline). Owns the policy:
which photo is next, which observations count, when everything is refined.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from ...errors import AlignmentFailed
from ...progress import Task
from .adjustment import adjust_bundle
from .bundle import Bundle, BundleOptions, reprojection_errors
from .lenses import Lenses
from .tracks import Tracks
from .triangulation import pair_angles_degrees, ray_errors, triangulate
from .two_view import RAY_CAMERA, VerifiedPair, relative_pose, sampson_errors, turn_share

logger = logging.getLogger("reconx")

MIN_START_MATCHES = 30
MIN_START_ANGLE_DEGREES = 1.0
ENOUGH_ANGLE_DEGREES = 12.0
"""A start pair gains nothing from wider angles, where fewer true matches are found."""
TURN_SHARE = 0.9
"""A pair of which a mere turn explains this share has no parallax."""
START_TRIES = 3
MIN_POSE_INLIERS = 15
GROWTH_TOLERANCE = 4.0
"""Reprojection errors up to which observations count while photos are added, in pixel units."""
COARSE = 1e-4
"""Bundle adjustments between photos stop early: the next photo changes everything anyway."""
FINAL_TOLERANCES = (3.0, 2.0, 2.0)
"""The same in the rounds that follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementTask:
    """What does not change while photos are placed."""

    pairs: Mapping[tuple[int, int], VerifiedPair]
    """Verified matches of the photos to place."""
    tracks: Tracks
    """The same matches as tracks."""
    given_poses: Float[np.ndarray, "photo 3 4"]
    """World to camera where known, NaN elsewhere; known poses stay."""
    unit_px: float
    """Size of a pixel's error: 1 for photos of about 1000 pixels, more for larger ones."""
    seed: int
    """Of all sampling."""
    names: tuple[str, ...]
    """Of all photos, for error texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The world so far."""

    lenses: Lenses
    """With focal lengths and distortions as estimated so far."""
    poses: Float[np.ndarray, "photo 3 4"]
    """World to camera; NaN for photos that are not placed."""
    points: Float[np.ndarray, "track 3"]
    """World points; NaN for tracks without one."""
    used: Bool[np.ndarray, " observation"]
    """Observations that support a point."""

    @property
    def placed(self) -> Bool[np.ndarray, " photo"]:
        """Which photos have a pose."""
        return np.isfinite(self.poses[:, 0, 0])


def place_photos(task: PlacementTask, lenses: Lenses, progress: Task) -> Placement:
    """Place as many photos as can be, starting from given poses or the best pair.

    Args:
        task: Matches, tracks and what is known.
        lenses: With a focal length for each.
        progress: Told how many photos are placed.

    Raises:
        AlignmentFailed: If no pair of photos shows parallax.
    """
    wanted = sorted({photo for pair in task.pairs for photo in pair})
    best: Placement | None = None
    for poses in _starts(task, lenses):
        grown = _grow(task, _empty(task, lenses, poses), progress)
        if best is None or grown.placed.sum() > best.placed.sum():
            best = grown
        if best.placed.sum() >= len(wanted):
            break
    if best is None:
        names = ", ".join(task.names[photo] for photo in wanted)
        raise AlignmentFailed(
            f"The photos {names} were taken from one spot: a turn of the camera explains their "
            "matches, and depth cannot be seen without a change of place. Take a step to the side "
            "between photos."
        )
    for tolerance in FINAL_TOLERANCES:
        best = _refine(task, _find_points(task, best, tolerance))
    return _prune(task, best, FINAL_TOLERANCES[-1])


def _empty(task: PlacementTask, lenses: Lenses, poses: np.ndarray) -> Placement:
    return Placement(
        lenses=lenses,
        poses=poses,
        points=np.full((task.tracks.count, 3), np.nan),
        used=np.zeros(len(task.tracks.track), dtype=bool),
    )


def _starts(task: PlacementTask, lenses: Lenses) -> list[np.ndarray]:
    """Poses to start from: the given ones, or the `START_TRIES` best pairs."""
    if np.isfinite(task.given_poses[:, 0, 0]).sum() >= 2:
        return [task.given_poses.copy()]
    ranked = []
    for photos, pair in task.pairs.items():
        pose, score = _start_score(photos, pair, lenses, task)
        if score > 0:
            ranked.append((score, photos, pose))
    ranked.sort(key=lambda entry: -entry[0])
    starts = []
    for _, (i, j), pose in ranked:
        side = float(lenses.long_side[i])
        share = turn_share(task.pairs[i, j], side, 1.5 * task.unit_px, task.seed)
        if share > TURN_SHARE:
            continue
        poses = np.full_like(task.given_poses, np.nan)
        poses[i], poses[j] = np.eye(3, 4), pose
        starts.append(poses)
        if len(starts) == START_TRIES:
            break
    return starts


def _start_score(
    photos: tuple[int, int], pair: VerifiedPair, lenses: Lenses, task: PlacementTask
) -> tuple[np.ndarray, float]:
    """Relative pose of a pair, and how good a start it is: inliers x median angle."""
    i, j = photos
    first = lenses.rays(np.full(len(pair), i), pair.first)
    second = lenses.rays(np.full(len(pair), j), pair.second)
    tolerance = 1.5 * task.unit_px / lenses.mean_focal(i, j)
    pose = relative_pose(first, second, tolerance, task.seed)
    inlier = np.flatnonzero(sampson_errors(pose, first, second) < tolerance)
    count = len(inlier)
    both = np.concatenate([np.tile(np.eye(3, 4), (count, 1, 1)), np.tile(pose, (count, 1, 1))])
    points, _ = triangulate(
        both,
        np.concatenate([first[inlier], second[inlier]]),
        np.tile(np.arange(count), 2),
        count,
        np.full(2 * count, 2 * tolerance),
    )
    points = points[np.isfinite(points[:, 0])]
    if len(points) < MIN_START_MATCHES:
        return pose, 0.0
    angle = float(np.median(pair_angles_degrees(pose, points)))
    if angle < MIN_START_ANGLE_DEGREES:
        return pose, 0.0
    return pose, len(points) * min(angle, ENOUGH_ANGLE_DEGREES)


def _grow(task: PlacementTask, placement: Placement, progress: Task) -> Placement:
    """Add photo after photo until none fits any more."""
    # Twice the tolerance at first: the focal length is still a guess.
    placement = _refine(task, _find_points(task, placement, 2 * GROWTH_TOLERANCE), COARSE)
    placement = _refine(task, _find_points(task, placement, GROWTH_TOLERANCE), COARSE)
    refined_at = placement.placed.sum()
    failed: set[int] = set()
    while True:
        count = int(placement.placed.sum())
        progress.update(count)
        photo = _next_photo(task, placement, failed)
        if photo is None:
            return placement
        pose = _find_pose(task, placement, photo)
        if pose is None:
            failed.add(photo)
            continue
        poses = placement.poses.copy()
        poses[photo] = pose
        placement = _find_points(task, replace(placement, poses=poses), GROWTH_TOLERANCE)
        # Every photo while there are few; then at each growth by a seventh, so that the work does
        # not grow with the square of the photos.
        if count < 6 or count + 1 >= 1.15 * refined_at:
            placement = _find_points(task, _refine(task, placement, COARSE), GROWTH_TOLERANCE)
            refined_at = count + 1
            failed.clear()


def _next_photo(task: PlacementTask, placement: Placement, failed: set[int]) -> int | None:
    """The photo that sees most points, among those not placed and not tried in vain."""
    has_point = np.isfinite(placement.points[:, 0])[task.tracks.track]
    seen = np.bincount(task.tracks.photo[has_point], minlength=len(placement.poses))
    seen[placement.placed] = 0
    seen[list(failed)] = 0
    photo = int(seen.argmax())
    return photo if seen[photo] >= MIN_POSE_INLIERS else None


def _find_pose(
    task: PlacementTask, placement: Placement, photo: int
) -> Float[np.ndarray, "3 4"] | None:
    """Pose of a photo from the points it sees, or None if too few agree."""
    import poselib

    tracks, lenses = task.tracks, placement.lenses
    has_point = np.isfinite(placement.points[:, 0])[tracks.track]
    mine = np.flatnonzero(has_point & (tracks.photo == photo))
    focal = lenses.mean_focal(photo, photo)
    ransac = {"max_reproj_error": 1.5 * GROWTH_TOLERANCE * task.unit_px / focal, "seed": task.seed}
    pose, info = poselib.estimate_absolute_pose(
        lenses.rays(tracks.photo[mine], tracks.pixel[mine]),
        placement.points[tracks.track[mine]],
        RAY_CAMERA,
        ransac,
        {"loss_scale": task.unit_px / focal},
    )
    if info["num_inliers"] < MIN_POSE_INLIERS:
        return None
    return np.hstack([pose.R, np.reshape(pose.t, (3, 1))])


def _find_points(task: PlacementTask, placement: Placement, tolerance: float) -> Placement:
    """Triangulate all tracks anew from the placed photos."""
    tracks, lenses = task.tracks, placement.lenses
    seen = np.flatnonzero(placement.placed[tracks.photo])
    photo = tracks.photo[seen]
    points, kept = triangulate(
        placement.poses[photo],
        lenses.rays(photo, tracks.pixel[seen]),
        tracks.track[seen],
        tracks.count,
        tolerance * task.unit_px / lenses.focal[lenses.of_photo[photo]],
    )
    used = np.zeros_like(placement.used)
    used[seen[kept]] = True
    return replace(placement, points=points, used=used)


def _as_bundle(task: PlacementTask, placement: Placement) -> tuple[Bundle, np.ndarray, np.ndarray]:
    """The placed photos and used observations, with the photo of each view, track of each point."""
    tracks, used = task.tracks, placement.used
    photos = np.flatnonzero(placement.placed)
    track_ids, observed_point = np.unique(tracks.track[used], return_inverse=True)
    given = np.isfinite(task.given_poses[photos, 0, 0])
    fixed = given if given.sum() >= 2 else np.arange(len(photos)) == 0
    lens_ids, lens = np.unique(placement.lenses.of_photo[photos], return_inverse=True)
    bundle = Bundle(
        world_to_camera=placement.poses[photos],
        fixed=fixed,
        lens=lens,
        focal=placement.lenses.focal[lens_ids],
        distortion=placement.lenses.distortion[lens_ids],
        points=placement.points[track_ids],
        observed_view=np.searchsorted(photos, tracks.photo[used]),
        observed_point=observed_point,
        observed_pixel=tracks.pixel[used],
    )
    return bundle, photos, track_ids


def _refine(task: PlacementTask, placement: Placement, tolerance: float = 1e-6) -> Placement:
    """Bundle adjustment of all that is placed, until a step gains less than `tolerance`."""
    if not placement.used.any():
        return placement
    lenses = placement.lenses
    bundle, photos, track_ids = _as_bundle(task, placement)
    lens_ids = np.unique(lenses.of_photo[photos])
    options = BundleOptions(
        focal_prior=lenses.focal_prior[lens_ids],
        focal_sigma=lenses.focal_sigma[lens_ids],
        radial_terms=0 if lenses.distortion_given else _radial_terms(len(photos)),
        loss_px=task.unit_px,
        tolerance=tolerance,
    )
    bundle = adjust_bundle(bundle, options)
    focal, distortion = lenses.focal.copy(), lenses.distortion.copy()
    focal[lens_ids], distortion[lens_ids] = bundle.focal, bundle.distortion
    poses, points = placement.poses.copy(), placement.points.copy()
    poses[photos], points[track_ids] = bundle.world_to_camera, bundle.points
    lenses = replace(lenses, focal=focal, distortion=distortion)
    return replace(placement, lenses=lenses, poses=poses, points=points)


def _radial_terms(photos: int) -> int:
    """Two photos do not tell distortion from depth; k2 needs points near all corners."""
    return 0 if photos < 3 else 1 if photos < 6 else 2


def _prune(task: PlacementTask, placement: Placement, tolerance: float) -> Placement:
    """Drop observations, then points, that the last refinement left outside the tolerance."""
    bundle, _, track_ids = _as_bundle(task, placement)
    used = np.flatnonzero(placement.used)
    fits = reprojection_errors(bundle) <= tolerance * task.unit_px
    poses = bundle.world_to_camera[bundle.observed_view]
    centred = placement.lenses.rays(task.tracks.photo[used], bundle.observed_pixel)
    fits &= np.isfinite(ray_errors(poses, centred, bundle.points[bundle.observed_point]))
    sound = np.bincount(bundle.observed_point[fits], minlength=len(track_ids)) >= 2
    fits &= sound[bundle.observed_point]
    kept = np.zeros_like(placement.used)
    kept[used[fits]] = True
    points = np.full_like(placement.points, np.nan)
    points[track_ids[sound]] = bundle.points[sound]
    return replace(placement, points=points, used=kept)
