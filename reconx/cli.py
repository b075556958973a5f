"""The command line: `reconstruct`, `evaluate`, `evaluate-dataset`, `train` and `doctor`.

Exit status 0 on success, 2 on input that cannot be used (one line on stderr says which, what was
expected and what to do), 130 when interrupted.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .errors import InputError, ReconXError
from .progress import TerminalProgress

if TYPE_CHECKING:
    from .photos.loading import PhotoOptions
    from .pipeline import ReconstructOptions
    from .splats.fit import FitOptions
    from .video.model_options import ModelOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see `python -m reconx --help`."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = _make_parser().parse_args(arguments)
        return parsed.run(parsed)
    except ReconXError as error:
        if debug:
            raise
        sys.stderr.write(f"reconx: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("reconx: interrupted; nothing was written.\n")
        return 130


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments like any other bad input: one line, no usage dump."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. Run 'python -m reconx --help' for what is possible.")


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m reconx", description="Photos in, a scene of Gaussians out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    reconstruct = commands.add_parser(
        "reconstruct", help="turn two or more photos into a scene of Gaussians"
    )
    reconstruct.set_defaults(run=_reconstruct)
    reconstruct.add_argument("photos", nargs="*", metavar="PHOTO", help="files or folders")
    reconstruct.add_argument("--output", required=True, type=Path, help="folder for the result")
    reconstruct.add_argument(
        "--focal-px", type=float, help="focal length in pixels of the original photos"
    )
    reconstruct.add_argument(
        "--fov-degrees", type=float, help="horizontal field of view of the photos"
    )
    reconstruct.add_argument(
        "--masks", type=Path, help="folder of masks named like the photos; black is left out"
    )
    reconstruct.add_argument(
        "--format", default="ply", help="of the splats: ply, spz, splat, or several with commas"
    )
    _add_frames(reconstruct)
    _add_fit(reconstruct)
    _add_common(reconstruct)

    evaluate = commands.add_parser(
        "evaluate", help="reconstruct a posed photo folder and score unseen views"
    )
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("scene", type=Path, help="folder with transforms.json and splits.json")
    evaluate.add_argument("--split", required=True, help="name of a split")
    evaluate.add_argument("--output", required=True, type=Path, help="folder for the result")
    _add_score(evaluate)
    _add_frames(evaluate)
    _add_fit(evaluate)
    _add_common(evaluate)

    dataset = commands.add_parser(
        "evaluate-dataset", help="score many scenes of RealEstate10K, ACID or DL3DV; goes on anew"
    )
    dataset.set_defaults(run=_evaluate_dataset)
    dataset.add_argument("dataset", help="re10k, acid or dl3dv")
    dataset.add_argument("root", type=Path, help="folder of the dataset")
    dataset.add_argument(
        "--index", required=True, type=Path, help="which frames go in and are scored, as JSON"
    )
    dataset.add_argument("--output", required=True, type=Path, help="folder for rows and table")
    dataset.add_argument(
        "--cameras", default="given", help="given: true ones go in, as in the paper; found: none do"
    )
    dataset.add_argument(
        "--shard", help="which part of the scenes: 1/4 to 4/4; else from RANK and WORLD_SIZE"
    )
    _add_score(dataset)
    _add_frames(dataset)
    _add_fit(dataset)
    _add_common(dataset, overwrites=False)

    train = commands.add_parser("train", help="train what has no weights yet; goes on anew")
    kinds = train.add_subparsers(required=True, metavar="WHAT")
    structure = kinds.add_parser(
        "structure", help="the structure condition, for a video model, on posed videos"
    )
    structure.set_defaults(run=_train_structure)
    structure.add_argument("--config", required=True, type=Path, help="recipe, as JSON")
    structure.add_argument("--output", required=True, type=Path, help="folder of the run")
    structure.add_argument(
        "--options", nargs="*", default=[], metavar="NAME=VALUE", help="such as learn.steps=100"
    )
    structure.add_argument(
        "--cache", type=Path, help="folder of encoded clips, which runs may share"
    )
    structure.add_argument(
        "--dry-run", action="store_true", help="tell parameters, memory and time, and stop"
    )
    structure.add_argument(
        "--check-cache", action="store_true", help="compare the checksums of all encoded clips"
    )
    structure.add_argument(
        "--fill-only", action="store_true", help="encode clips, and stop before learning"
    )
    structure.add_argument("--stop-after", type=int, help="steps of this sitting")
    structure.add_argument("--device", help="cpu keeps off a GPU that is there")
    structure.add_argument("--debug", action="store_true", help="show the traceback of an error")

    doctor = commands.add_parser("doctor", help="show versions, parts, and what to install")
    doctor.set_defaults(run=_doctor)
    doctor.add_argument("--device", default="cpu", help="torch device: cpu, cuda, mps")
    doctor.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--score-lpips", type=Path, help="file or folder of LPIPS weights; adds that score"
    )


def _add_frames(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", default="interpolate", help="kind of camera path")
    parser.add_argument(
        "--amplitude",
        type=float,
        help="how far dolly, truck, spiral and the like go, in distances to what photo 0 shows",
    )
    parser.add_argument("--frames", type=int, help="frames of the path")
    parser.add_argument("--backbone", default="small", help="video backbone")
    parser.add_argument(
        "--model", type=Path, help="folder of the backbone's weights, in the diffusers layout"
    )
    parser.add_argument(
        "--offload", default="model", help="what of the model leaves the GPU: none, model, group"
    )
    parser.add_argument("--prompt", help="what the frames show, for the model")


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--train-on-generated",
        action="store_true",
        help="frames of the path train too, as far as they are trusted",
    )
    parser.add_argument(
        "--confidence",
        default="agreement",
        help="who judges frames that their backbone does not: agreement (no weights) or pairwise "
        "(by the network of --estimator dust3r)",
    )
    parser.add_argument(
        "--colours", default="all", help="pictures that get a colour map: none, generated, all"
    )
    parser.add_argument(
        "--robust", action="store_true", help="leave out what moved from photo to photo"
    )
    parser.add_argument(
        "--lpips", type=Path, help="file or folder of LPIPS weights; adds the perceptual term"
    )
    parser.add_argument(
        "--max-memory-mb", type=int, default=0, help="memory of the fit; kept by fewer Gaussians"
    )


def _add_common(parser: argparse.ArgumentParser, *, overwrites: bool = True) -> None:
    parser.add_argument("--estimator", default="stereo", help="who finds the geometry")
    parser.add_argument("--checkpoint", type=Path, help="file of the estimator's weights")
    parser.add_argument("--quality", default="normal", help="draft, normal or high")
    parser.add_argument("--size", type=int, help="long side in pixels of geometry and fit")
    parser.add_argument("--steps", type=int, help="steps of the fit")
    parser.add_argument("--seed", type=int, default=0, help="seeds every random choice")
    parser.add_argument("--device", default="cpu", help="torch device: cpu, cuda, mps")
    if overwrites:
        parser.add_argument(
            "--overwrite", action="store_true", help="replace files of an earlier result"
        )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _reconstruct(parsed: argparse.Namespace) -> int:
    # Imported here, so that --help and wrong arguments answer at once.
    from .export.splat_files import parse_formats
    from .photos.loading import PhotoOptions
    from .pipeline import reconstruct
    from .results import CHECKPOINT, prepare_output, save_reconstruction

    photos = PhotoOptions(
        focal_px=parsed.focal_px, fov_degrees=parsed.fov_degrees, masks=parsed.masks
    )
    options = _reconstruct_options(parsed, photos=photos)
    formats = parse_formats(parsed.format)
    prepare_output(parsed.output, overwrite=parsed.overwrite)
    progress, checkpoint = TerminalProgress(), parsed.output / CHECKPOINT
    if parsed.overwrite:
        checkpoint.unlink(missing_ok=True)
    try:
        result = reconstruct(
            parsed.photos, options=options, progress=progress, checkpoint=checkpoint
        )
    except KeyboardInterrupt:
        if checkpoint.exists():
            sys.stderr.write(
                "reconx: interrupted; the same command, without --overwrite, goes on with the fit "
                f"of '{checkpoint}'.\n"
            )
            return 130
        raise
    save_reconstruction(
        result, parsed.output, overwrite=parsed.overwrite, formats=formats, progress=progress
    )
    checkpoint.unlink(missing_ok=True)
    sys.stdout.write(f"Look at {parsed.output / 'overview.png'} first.\n")
    return 0


def _reconstruct_options(
    parsed: argparse.Namespace, *, size: int | None = None, photos: "PhotoOptions | None" = None
) -> "ReconstructOptions":
    """Options of the reconstruction, with a size to take where none is asked for."""
    from .pipeline import ReconstructOptions
    from .trajectory.options import MoveOptions

    return ReconstructOptions.of_quality(
        parsed.quality,
        size=size if parsed.size is None else parsed.size,
        frames=parsed.frames,
        steps=parsed.steps,
        estimator=parsed.estimator,
        checkpoint=parsed.checkpoint,
        path=parsed.path,
        move=None if parsed.amplitude is None else MoveOptions(amplitude=parsed.amplitude),
        backbone=parsed.backbone,
        model=_model_options(parsed),
        confidence=parsed.confidence,
        photos=photos,
        fit=_fit_options(parsed),
        device=parsed.device,
        seed=parsed.seed,
    )


def _fit_options(parsed: argparse.Namespace) -> "FitOptions":
    from .splats.fit import ROBUST_AFTER, FitOptions
    from .splats.perceptual.weights import LPIPS_WEIGHT

    return FitOptions(
        train_on_generated=parsed.train_on_generated,
        adapt_colours=parsed.colours,
        robust_after=ROBUST_AFTER if parsed.robust else 1.0,
        lpips=parsed.lpips,
        perceptual_weight=0.0 if parsed.lpips is None else LPIPS_WEIGHT,
        max_memory_mb=parsed.max_memory_mb,
    )


def _model_options(parsed: argparse.Namespace) -> "ModelOptions | None":
    from .video.model_options import PROMPT, ModelOptions

    if parsed.model is None:
        return None
    return ModelOptions(folder=parsed.model, offload=parsed.offload, prompt=parsed.prompt or PROMPT)


def _evaluate(parsed: argparse.Namespace) -> int:
    from .evaluation.protocol import evaluate_split
    from .evaluation.report import save_evaluation
    from .results import prepare_output

    options = _reconstruct_options(parsed)
    prepare_output(parsed.output, overwrite=parsed.overwrite)
    evaluation = evaluate_split(
        parsed.scene,
        parsed.split,
        options=options,
        lpips=parsed.score_lpips,
        progress=TerminalProgress(),
    )
    save_evaluation(evaluation, parsed.output)
    sys.stdout.write(evaluation.summary() + f"\nPictures: {parsed.output / 'evaluation.png'}\n")
    return 0


def _evaluate_dataset(parsed: argparse.Namespace) -> int:
    from .checks import check_choice
    from .evaluation.datasets.registry import DATASETS
    from .evaluation.datasets.run import DatasetOptions, evaluate_dataset
    from .evaluation.datasets.shards import find_shard

    check_choice("Dataset", parsed.dataset, tuple(DATASETS))
    options = DatasetOptions(
        dataset=parsed.dataset,
        root=parsed.root,
        index=parsed.index,
        cameras=parsed.cameras,
        lpips=parsed.score_lpips,
        reconstruct=_reconstruct_options(parsed, size=DATASETS[parsed.dataset].size),
    )
    shard = find_shard(parsed.shard, os.environ)
    sys.stdout.write(evaluate_dataset(options, parsed.output, shard, TerminalProgress()))
    return 0


def _train_structure(parsed: argparse.Namespace) -> int:
    from .training.recipe import read_recipe
    from .training.registry import make_trainable
    from .training.sitting import describe_costs, train_structure

    options = read_recipe(parsed.config, parsed.options)
    backbone = make_trainable(options)
    if parsed.dry_run:
        sys.stdout.write(describe_costs(options, backbone, parsed.device) + "\n")
        return 0
    try:
        told = train_structure(
            options,
            backbone,
            parsed.output,
            cache=parsed.cache,
            device=parsed.device,
            stop_after=0 if parsed.fill_only else parsed.stop_after,
            check_cache=parsed.check_cache,
            progress=TerminalProgress(),
        )
    except KeyboardInterrupt:
        sys.stderr.write("reconx: interrupted; the same command goes on from what was kept.\n")
        return 130
    if told is not None:
        sys.stdout.write(told + "\n")
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from .checks import check_device
    from .doctor import describe_system

    check_device(parsed.device)
    sys.stdout.write(describe_system(parsed.device))
    return 0
