"""Structure from motion: unposed photos to cameras and sparse points. No weights.

Owns the order of the steps and what is said to the user when photos do not fit together.
"""

import logging

import numpy as np
import torch
from jaxtyping import Float

from ...errors import AlignmentFailed, InputError
from ...ops.se3 import invert_pose
from ...progress import Progress
from ...types import Cameras, Photos
from .features import Features, choose_detector, find_features
from .focal import search_focal
from .lenses import Lenses, gather_lenses
from .matching import choose_pairs, match_descriptors
from .registration import Placement, PlacementTask, place_photos
from .sparse import SparseReconstruction
from .tracks import build_tracks
from .two_view import VerifiedPair, epipolar_inliers

logger = logging.getLogger("reconx")

MIN_FEATURES = 100
"""A photo with fewer shows a wall, a blur or the dark."""
MIN_MATCHES = 30
"""Verified matches that join two photos."""
FEW_POINTS = 100
"""Points below which cameras are doubtful."""
UNIT_LONG_SIDE = 1000
"""Photos of this long side are judged in pixels; larger ones in proportion."""


def reconstruct_sparse(photos: Photos, seed: int, progress: Progress) -> SparseReconstruction:
    """Find the cameras of unposed photos and the points that they share.

    Photos that join nothing are left out with a warning while most of them remain. Given focal
    lengths, distortions and poses are kept (`photos.prior`); with two or more given poses the
    others are placed in their world.

    Args:
        photos: Two or more, as loaded (distorted, padded).
        seed: Of all sampling; the same seed gives the same bytes on the same machine.
        progress: Told of features, matches and placed photos.

    Returns:
        Cameras and points in the first registered camera's frame.

    Raises:
        InputError: With fewer than two photos, or when a photo was given twice.
        AlignmentFailed: If the photos have too little in common, or were taken from one spot.
    """
    if len(photos) < 2:
        raise InputError(f"{len(photos)} photo was given; expected at least 2 of one place.")
    lenses = gather_lenses(photos)
    unit_px = max(1.0, float(lenses.long_side.max()) / UNIT_LONG_SIDE)
    features = _find_all_features(photos, progress)
    pairs = _match_all(photos, features, lenses, unit_px, seed, progress)
    warnings = _texture_warnings(photos, features)
    joined, lonely = _largest_group(photos, pairs)
    warnings += [_lonely_text(photos, pairs, index) for index in lonely]
    matches = {photo_pair: len(pair) for photo_pair, pair in pairs.items()}
    pairs = {p: pair for p, pair in pairs.items() if len(pair) >= MIN_MATCHES and p[0] in joined}
    search = search_focal(lenses, pairs, unit_px, seed)
    if search is not None:
        lenses = search.lenses
        # From three photos on, bundle adjustment finds what pairs leave open.
        warnings += [search.describe_doubt()] if search.is_guess and len(joined) == 2 else []
    task = PlacementTask(
        pairs=pairs,
        tracks=build_tracks(pairs),
        given_poses=_given_poses(photos),
        unit_px=unit_px,
        seed=seed,
        names=photos.names,
    )
    placement = place_photos(task, lenses, progress.start("Placing photos", len(joined)))
    warnings += [
        f"{_photo(photos, index)} matches others, but too few of its points could be located to "
        "place it. Add a photo in between, or leave it out."
        for index in sorted(joined)
        if not placement.placed[index]
    ]
    warnings += _doubt_texts(photos, task, placement)
    for text in warnings:
        logger.warning(text)
    return _as_reconstruction(photos, task, placement, matches, tuple(warnings))


def _find_all_features(photos: Photos, progress: Progress) -> list[Features]:
    task = progress.start("Finding features", len(photos))
    detector = choose_detector()
    features = []
    for index in range(len(photos)):
        features.append(find_features(photos.images[index], photos.valid[index], detector))
        task.update(index + 1)
    if sum(len(part) >= MIN_FEATURES for part in features) < 2:
        texts = [_texture_text(photos, features, index) for index in range(len(photos))]
        raise AlignmentFailed(
            " ".join(text for text in texts if text)
            + " Take photos of something with more detail, sharp and well lit."
        )
    return features


def _texture_text(photos: Photos, features: list[Features], index: int) -> str | None:
    found = len(features[index])
    if found >= MIN_FEATURES:
        return None
    return (
        f"{_photo(photos, index)} shows too little texture "
        f"({found} feature points, {MIN_FEATURES} needed)."
    )


def _texture_warnings(photos: Photos, features: list[Features]) -> list[str]:
    texts = (_texture_text(photos, features, index) for index in range(len(photos)))
    return [text for text in texts if text]


def _match_all(
    photos: Photos,
    features: list[Features],
    lenses: Lenses,
    unit_px: float,
    seed: int,
    progress: Progress,
) -> dict[tuple[int, int], VerifiedPair]:
    """Match likely pairs and keep what obeys an epipolar geometry."""
    candidates = choose_pairs(features)
    task = progress.start("Matching photos", len(candidates))
    pairs = {}
    for done, (i, j) in enumerate(candidates):
        match = match_descriptors(features[i].descriptors, features[j].descriptors)
        _refuse_copies(photos, features, match, (i, j))
        first = lenses.centre(i, features[i].pixels[match[:, 0]])
        second = lenses.centre(j, features[j].pixels[match[:, 1]])
        inlier = epipolar_inliers(first, second, 1.5 * unit_px, seed)
        pairs[i, j] = VerifiedPair(
            features=match[inlier], first=first[inlier], second=second[inlier]
        )
        task.update(done + 1)
    return pairs


def _refuse_copies(
    photos: Photos, features: list[Features], match: np.ndarray, pair: tuple[int, int]
) -> None:
    """Refuse one photo given twice, even if saved anew."""
    i, j = pair
    if len(match) < MIN_MATCHES or len(match) < 0.5 * min(len(features[i]), len(features[j])):
        return
    moved = features[i].pixels[match[:, 0]] - features[j].pixels[match[:, 1]]
    shift = float(np.median(np.linalg.norm(moved, axis=1)))
    if shift < 0.25:
        raise InputError(
            f"{_photo(photos, i)} and {_photo(photos, j)} show the same picture "
            f"({len(match)} matches, moved by {shift:.2f} pixels). Leave one of them out."
        )


def _largest_group(
    photos: Photos, pairs: dict[tuple[int, int], VerifiedPair]
) -> tuple[set[int], list[int]]:
    """The largest group of photos that hang together, and the others.

    Raises:
        AlignmentFailed: If no group holds more than half of the photos.
    """
    group = {index: {index} for index in range(len(photos))}
    for (i, j), pair in pairs.items():
        if len(pair) >= MIN_MATCHES and group[i] is not group[j]:
            merged = group[i] | group[j]
            group.update(dict.fromkeys(merged, merged))
    largest = max(group.values(), key=lambda members: (len(members), -min(members)))
    lonely = [index for index in range(len(photos)) if index not in largest]
    if len(largest) == 1:
        raise AlignmentFailed(_lonely_text(photos, pairs, lonely[-1]))
    if 2 * len(largest) <= len(photos):
        names = ", ".join(photos.names[index] for index in sorted(largest))
        raise AlignmentFailed(
            f"The photos fall apart: at most {len(largest)} of {len(photos)} hang together "
            f"({names}). {_lonely_text(photos, pairs, lonely[0])}"
        )
    return largest, lonely


def _lonely_text(photos: Photos, pairs: dict[tuple[int, int], VerifiedPair], index: int) -> str:
    best = max((len(pair) for photo_pair, pair in pairs.items() if index in photo_pair), default=0)
    others = "the other" if len(photos) == 2 else "the others"
    return (
        f"{_photo(photos, index)} shares too few points with {others} "
        f"({best} matches, {MIN_MATCHES} needed). Add a photo in between, or leave it out."
    )


def _photo(photos: Photos, index: int) -> str:
    return f"Photo {index + 1} ({photos.names[index]})"


def _doubt_texts(photos: Photos, task: PlacementTask, placement: Placement) -> list[str]:
    """Say where few points hold the cameras: all of them, or else single ones."""
    located = int(np.isfinite(placement.points[:, 0]).sum())
    if located < FEW_POINTS:
        return [
            f"Only {located} points hold the cameras together ({FEW_POINTS} make them reliable): "
            "they may be off by degrees. Add photos in between."
        ]
    held = np.bincount(task.tracks.photo[placement.used], minlength=len(photos))
    return [
        f"{_photo(photos, index)} is held by only {held[index]} points ({FEW_POINTS} make its "
        "place reliable): it may be off by degrees. Add a photo between it and its neighbours."
        for index in np.flatnonzero(placement.placed & (held < FEW_POINTS)).tolist()
    ]


def _given_poses(photos: Photos) -> Float[np.ndarray, "photo 3 4"]:
    prior = photos.prior
    if prior is None or prior.camera_to_world is None:
        return np.full((len(photos), 3, 4), np.nan)
    return invert_pose(prior.camera_to_world.double())[:, :3].numpy()


def _as_reconstruction(
    photos: Photos,
    task: PlacementTask,
    placement: Placement,
    matches: dict[tuple[int, int], int],
    warnings: tuple[str, ...],
) -> SparseReconstruction:
    """Move the world into the first camera's frame and back into the photos' pixels."""
    index = np.flatnonzero(placement.placed)
    lenses, tracks = placement.lenses, task.tracks
    world_to_camera = np.zeros((len(index), 4, 4))
    world_to_camera[:, :3], world_to_camera[:, 3, 3] = placement.poses[index], 1
    first = world_to_camera[0]
    camera_to_first = first @ invert_pose(torch.from_numpy(world_to_camera)).numpy()
    camera_to_first[0] = np.eye(4)
    track_ids, observed_point = np.unique(tracks.track[placement.used], return_inverse=True)
    points = placement.points[track_ids] @ first[:3, :3].T + first[:3, 3]
    photo = tracks.photo[placement.used]
    stretch = np.stack([np.ones(len(photo)), lenses.stretch[photo]], axis=1)
    pixels = tracks.pixel[placement.used] / stretch + lenses.principal[photo]
    return SparseReconstruction(
        photo_index=tuple(index.tolist()),
        cameras=Cameras(
            camera_to_world=torch.from_numpy(camera_to_first).float(),
            K=torch.stack([lenses.intrinsics(i) for i in index.tolist()]),
            width=photos.width,
            height=photos.height,
        ),
        distortion=torch.from_numpy(lenses.distortion[lenses.of_photo[index]]).float(),
        points=torch.from_numpy(points).float(),
        observed_view=torch.from_numpy(np.searchsorted(index, photo)),
        observed_point=torch.from_numpy(observed_point),
        observed_pixel=torch.from_numpy(pixels).float(),
        matches=matches,
        warnings=warnings,
    )
