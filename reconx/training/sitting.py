"""One call of the command `train structure`: fill the cache, learn, and say what is there."""

import tempfile
from pathlib import Path

from ..checks import check_choice, check_range
from ..progress import Progress, SilentProgress
from .base import TrainableBackbone
from .costs import measure_costs
from .options import TrainOptions
from .run import TrainingRun


def train_structure(
    options: TrainOptions,
    backbone: TrainableBackbone,
    folder: Path,
    *,
    cache: Path | None,
    device: str | None,
    stop_after: int | None,
    check_cache: bool,
    progress: Progress,
) -> str | None:
    """Begin a run or go on with it.

    Args:
        options: The recipe.
        backbone: Of the recipe.
        folder: Of the run.
        cache: Of encoded clips; None = in the run's folder.
        device: "cpu", or None for what there is.
        stop_after: Steps of this sitting; 0 fills the cache alone; None = all that are left.
        check_cache: Whether checksums of the whole cache are compared before.
        progress: Who is told; by the first of several processes alone.

    Returns:
        What is there now, as text; None from all processes but the first.

    Raises:
        InputError: If recipe, data or files cannot be used.
        MissingDependency: If a package is absent.
    """
    if stop_after is not None:
        check_range("--stop-after", stop_after, 0)
    _check_device(device)
    run = TrainingRun(options, backbone, folder, cache=cache, device=device)
    first = run.accelerator.is_main_process
    progress = progress if first else SilentProgress()
    run.fill_cache(progress)
    if check_cache:
        run.cache.open(thorough=True)
    if stop_after == 0:
        return f"{len(run.cache)} clips are encoded." if first else None
    path = run.train(progress, stop_after=stop_after)
    if not first:
        return None
    if path is None:
        return f"Steps are left. The same command goes on with '{folder}'."
    return f"Written: {path}. ComfyUI reads it from models/structure_models."


def describe_costs(options: TrainOptions, backbone: TrainableBackbone, device: str | None) -> str:
    """What a run would take; nothing of it is kept.

    Raises:
        InputError: If recipe, data or files cannot be used.
        MissingDependency: If a package is absent.
    """
    _check_device(device)
    with tempfile.TemporaryDirectory() as scratch:
        return measure_costs(options, backbone, Path(scratch), device).describe()


def _check_device(device: str | None) -> None:
    if device is not None:
        # Others are given to processes one by one, by `accelerate launch`.
        check_choice("--device", device, ("cpu",))
