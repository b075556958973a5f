"""Measure cameras from two photos whose focal length nobody tells, and write the figures down.

Run from the repository's root: `python benchmarks/two_photos.py FOLDER ...`, folders of photos with
true pinhole cameras (`transforms.json`, nerfstudio's conventions). A folder offers every pair whose
median triangulation angle lies in `ANGLES_DEGREES`: the angle under which the true cameras see the
points of those matches that obey them. Of more than `--most` pairs, so many are taken at even
distances in order of the photos. A pair that is refused counts as infinitely wrong. One thread.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from reconx.errors import AlignmentFailed
from reconx.export.nerfstudio import read_transforms
from reconx.export.posed import PosedPhotos
from reconx.geometry.stereo.features import Features, find_features
from reconx.geometry.stereo.matching import match_descriptors
from reconx.geometry.stereo.sfm import MIN_MATCHES, UNIT_LONG_SIDE, reconstruct_sparse
from reconx.geometry.stereo.triangulation import pair_angles_degrees, triangulate
from reconx.geometry.stereo.two_view import sampson_errors
from reconx.ops.se3 import rotation_angle_degrees
from reconx.photos.decoding import decode_photo
from reconx.photos.loading import PhotoOptions, load_photos
from reconx.progress import SilentProgress
from reconx.types import Cameras

ANGLES_DEGREES = (10.0, 35.0)
TRUE_PX = 3.0
"""Sampson error under the true cameras up to which a match is true, at 1000 pixels' long side."""


def offered_pairs(posed: PosedPhotos, most: int) -> list[tuple[int, int, float]]:
    """Pairs of photos in the range of angles, with their median angle in degrees."""
    features, cameras = [], []
    for path, camera in zip(posed.paths, posed.cameras, strict=True):
        photo = decode_photo(path, path.name, PhotoOptions().max_size)
        features.append(find_features(photo.image, photo.valid))
        cameras.append(camera.resized(photo.image.shape[1], photo.image.shape[0]))
    pairs = []
    for i, j in combinations(range(len(features)), 2):
        angle = _median_angle(features[i], features[j], cameras[i], cameras[j])
        if ANGLES_DEGREES[0] <= angle <= ANGLES_DEGREES[1]:
            pairs.append((i, j, angle))
    taken = np.unique(np.linspace(0, len(pairs) - 1, min(most, len(pairs))).round().astype(int))
    return [pairs[k] for k in taken]


def _median_angle(first: Features, second: Features, camera: Cameras, other: Cameras) -> float:
    """NaN where the photos share too little."""
    match = match_descriptors(first.descriptors, second.descriptors)
    start = _rays(first.pixels[match[:, 0]], camera)
    end = _rays(second.pixels[match[:, 1]], other)
    pose = (other.viewmats[0].double() @ camera.camera_to_world[0].double())[:3].numpy()
    tolerance = TRUE_PX / UNIT_LONG_SIDE * camera.width / float(camera.K[0, 0, 0])
    true = sampson_errors(pose, start, end) < tolerance
    rays = np.stack([start[true], end[true]], axis=1).reshape(-1, 2)
    poses = np.tile(np.stack([np.eye(3, 4), pose]), (int(true.sum()), 1, 1))
    track = np.repeat(np.arange(int(true.sum())), 2)
    points, _ = triangulate(poses, rays, track, int(true.sum()), np.full(len(rays), 2 * tolerance))
    points = points[np.isfinite(points[:, 0])]
    if len(points) < MIN_MATCHES:
        return math.nan
    return float(np.median(pair_angles_degrees(pose, points)))


def _rays(pixels: Float[np.ndarray, "n 2"], camera: Cameras) -> Float[np.ndarray, "n 2"]:
    K = camera.K[0].double().numpy()
    return (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]


def measure_pair(posed: PosedPhotos, i: int, j: int, angle: float) -> dict[str, object]:
    """Reconstruct two photos and compare their cameras with the true ones."""
    photos = load_photos([posed.paths[i], posed.paths[j]])
    row: dict[str, object] = {"photos": [posed.names[i], posed.names[j]], "angle": round(angle, 1)}
    began = time.process_time()
    try:
        found = reconstruct_sparse(photos, 0, SilentProgress())
    except AlignmentFailed as error:
        return {**row, **dict.fromkeys(MEASURES, math.inf), "refused": str(error)}
    seconds = time.process_time() - began
    relative = [
        pair[0].viewmats[0].double() @ pair[1].camera_to_world[0].double()
        for pair in ((found.cameras[0], found.cameras[1]), (posed.cameras[i], posed.cameras[j]))
    ]
    turn = relative[0][:3, :3].mT @ relative[1][:3, :3]
    cosine = torch.cosine_similarity(relative[0][:3, 3], relative[1][:3, 3], dim=0)
    focal = float(found.cameras.K[0, 0, 0] * photos.to_original[0, 0, 0])
    return {
        **row,
        "rotation_degrees": round(float(rotation_angle_degrees(turn)), 3),
        "direction_degrees": round(math.degrees(math.acos(min(1.0, float(cosine)))), 3),
        "focal_percent": round(100 * (focal / float(posed.cameras[i].K[0, 0, 0]) - 1), 2),
        "processor_seconds": round(seconds, 2),
        "points": len(found.points),
        "warnings": list(found.warnings),
    }


MEASURES = ("rotation_degrees", "direction_degrees", "focal_percent", "processor_seconds")


def summarise(rows: list[dict[str, object]]) -> dict[str, object]:
    """Median and 90th percentile of the absolute values."""
    figures: dict[str, object] = {
        "pairs": len(rows),
        "refused": sum("refused" in row for row in rows),
    }
    for name in MEASURES:
        values = sorted(abs(float(str(row[name]))) for row in rows)
        figures[name] = {
            "median": round(statistics.median(values), 3),
            "percentile_90": values[math.ceil(0.9 * len(values)) - 1],
        }
    return figures


def main() -> None:
    """Measure every folder; write one JSON file."""
    parser = argparse.ArgumentParser(description="Measure cameras from two photos.")
    parser.add_argument("folders", type=Path, nargs="+", help="photos with true cameras")
    parser.add_argument("--most", type=int, default=20, help="pairs per folder")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = os.getloadavg() if hasattr(os, "getloadavg") else None
    rows: dict[str, list[dict[str, object]]] = {}
    for folder in options.folders:
        posed = read_transforms(folder)
        rows[folder.name] = []
        for i, j, angle in offered_pairs(posed, options.most):
            rows[folder.name].append(measure_pair(posed, i, j, angle))
            print(json.dumps(rows[folder.name][-1]), flush=True)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "pycolmap", "poselib")},
        },
        "load_average_before": began,
        "note": options.note,
        "all": summarise([row for part in rows.values() for row in part]),
        "scenes": {name: {**summarise(part), "rows": part} for name, part in rows.items()},
    }
    path = options.out / f"two-photos-{datetime.now(UTC):%Y-%m-%d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report["all"]))
    print(path)


if __name__ == "__main__":
    main()
