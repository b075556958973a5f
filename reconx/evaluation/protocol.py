"""Reconstruct from the context photos of a posed folder, score its target photos.

The photos go in without their cameras. The true cameras of the targets are brought into the scene
by the similarity between true and estimated context cameras, then refined photometrically.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..checks import check_choice
from ..errors import InputError
from ..export.nerfstudio import read_splits, read_transforms
from ..export.posed import PosedPhotos, read_depth
from ..ops.se3 import rotation_angle_degrees
from ..ops.sim3 import apply_sim3_to_cameras, fit_sim3_to_cameras
from ..photos.decoding import decode_photo
from ..pipeline import Reconstruction, ReconstructOptions, reconstruct
from ..progress import Progress, SilentProgress
from ..splats.background import place_background
from ..splats.fit import fit_gaussians
from ..splats.perceptual.weights import load_lpips
from ..splats.placing import place_gaussians
from ..types import Cameras, FitResult, Gaussians, Sim3
from .scores import CameraErrors, DepthErrors, Evaluation, Row
from .targets import Target, score_gaussians, score_nearest, score_points, with_lpips


def evaluate_split(
    folder: Path,
    split: str,
    *,
    options: ReconstructOptions,
    lpips: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Reconstruct one split of a posed photo folder and score it.

    Args:
        folder: Holds `transforms.json` (pinhole, nerfstudio conventions) and `splits.json`.
        split: A name in `splits.json`.
        options: Of the reconstruction; what is measured is its default road.
        lpips: File or folder of the weights that measure LPIPS; see `load_lpips`.
        progress: Who is told.

    Raises:
        InputError: If the folder, the split or a photo in it cannot be read.
        WeightsNotFound: If there are no such weights.
        AlignmentFailed: If the context photos do not form one scene.
    """
    progress = progress or SilentProgress()
    network = None if lpips is None else load_lpips(lpips)
    splits = read_splits(folder)
    check_choice("Split", split, tuple(splits))
    posed = read_transforms(folder)
    if posed.distorted:
        raise InputError(
            f"Photos in '{folder}' have lens distortion; expected none, for what is rendered has "
            "none to compare with them. Undistort them first."
        )
    context, targets = splits[split].context, splits[split].targets
    for name in (*context, *targets):
        check_choice(f"Photo of split '{split}'", name, posed.names)
    paths = [posed.paths[posed.names.index(name)] for name in context]

    result = reconstruct(paths, options=options, progress=progress)
    names = result.scene.photos.names
    truth = _true_cameras(posed, names)
    scene_from_truth = fit_sim3_to_cameras(truth, result.scene.photo_cameras)
    held_out = [_load_target(posed, name, scene_from_truth, options) for name in targets]
    return Evaluation(
        scene=Path(folder).resolve().name,
        split=split,
        context=context,
        unregistered=tuple(name for name in context if name not in names),
        cameras=_camera_errors(result, posed),
        depth=_depth_errors(result, posed, scene_from_truth),
        rows=tuple(
            with_lpips(row, held_out, network) for row in _score_rows(result, held_out, progress)
        ),
        targets=tuple(target.photo for target in held_out),
        usage=result.usage,
    )


def _true_cameras(posed: PosedPhotos, names: Sequence[str]) -> Cameras:
    """True poses of some photos, as cameras of one nominal size (K and size are not used)."""
    chosen = [posed.cameras[posed.names.index(name)] for name in names]
    first = chosen[0]
    return Cameras.concatenate(
        [replace(camera, width=first.width, height=first.height) for camera in chosen]
    )


def _load_target(
    posed: PosedPhotos, name: str, scene_from_truth: Sim3, options: ReconstructOptions
) -> Target:
    index = posed.names.index(name)
    picture = decode_photo(posed.paths[index], name, options.geometry.fit_size)
    height, width = picture.image.shape[:2]
    camera = apply_sim3_to_cameras(scene_from_truth, posed.cameras[index].resized(width, height))
    return Target(name=name, camera=camera, photo=picture.image, valid=picture.valid)


def _camera_errors(result: Reconstruction, posed: PosedPhotos) -> CameraErrors:
    found, photos = result.scene.photo_cameras, result.scene.photos
    truth = _true_cameras(posed, photos.names)
    rotations, directions, focals = [], [], []
    for i in range(len(found)):
        for j in range(i + 1, len(found)):
            relative = [
                cameras.viewmats[i].double() @ cameras.camera_to_world[j].double()
                for cameras in (found, truth)
            ]
            turn = relative[0][:3, :3].mT @ relative[1][:3, :3]
            rotations.append(float(rotation_angle_degrees(turn)))
            cosine = torch.cosine_similarity(relative[0][:3, 3], relative[1][:3, 3], dim=0)
            directions.append(float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))))
        true_K = posed.cameras[posed.names.index(photos.names[i])].K[0]
        # Focal lengths compare in the original's pixels.
        focal = float(found.K[i, 0, 0] * photos.to_original[i, 0, 0])
        focals.append(focal / float(true_K[0, 0]) - 1)
    return CameraErrors(
        rotation_degrees=max(rotations),
        direction_degrees=max(directions),
        focal=sum(focals) / len(focals),
    )


def _depth_errors(
    result: Reconstruction, posed: PosedPhotos, scene_from_truth: Sim3
) -> DepthErrors | None:
    if posed.depths is None:
        return None
    scene = result.scene
    errors = []
    for view, name in enumerate(scene.photos.names):
        true_depth = read_depth(posed, posed.names.index(name))[None, None]
        size = (scene.cameras.height, scene.cameras.width)
        # Nearest: averages across an edge are the depth of nothing.
        true_depth = torch.nn.functional.interpolate(true_depth, size, mode="nearest-exact")[0, 0]
        measured = scene.measured[view]
        points = scene.points[view][measured]
        viewmat = scene.cameras.viewmats[view]
        depth = (points @ viewmat[:3, :3].mT + viewmat[:3, 3])[:, 2]
        reference = true_depth[measured] * scene_from_truth.scale
        errors.append((depth / reference - 1).abs()[reference > 0])
    error = torch.cat(errors)
    return DepthErrors(
        median=float(error.median()),
        beyond_two_percent=float((error > 0.02).float().mean()),
        measured=float(scene.measured.float().mean()),
    )


def _score_rows(
    result: Reconstruction, targets: Sequence[Target], progress: Progress
) -> tuple[Row, ...]:
    options, scene = result.options, result.scene
    default = options.fit.train_on_generated
    other = fit_gaussians(
        scene,
        result.views,
        options=replace(options.fit, train_on_generated=not default),
        device=options.device,
        seed=options.seed,
        progress=progress,
    )
    placed = place_gaussians(
        scene, max_gaussians=options.fit.max_gaussians, sh_degree=options.fit.sh_degree
    )
    meaning, background = "Gaussians as placed, before the fit", 0
    if options.fit.background:
        behind = place_background(scene)
        placed, background = Gaussians.concatenate([placed, behind]), len(behind)
    names = {True: "generated", False: "captured"}
    meanings = {
        True: f"fit on captured photos and frames of '{options.backbone}'",
        False: "fit on captured photos only",
    }
    return (
        _score_fit(names[default], meanings[default], result.fit, targets),
        _score_fit(names[not default], meanings[not default], other, targets),
        score_gaussians("unfitted", meaning, placed, targets, background=background),
        score_points(result, targets),
        score_nearest(result, targets),
    )


def _score_fit(name: str, meaning: str, fit: FitResult, targets: Sequence[Target]) -> Row:
    return score_gaussians(name, meaning, fit.gaussians, targets, background=fit.background)
