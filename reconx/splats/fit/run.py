"""The one call that fits a scene."""

import logging
from pathlib import Path

from ...progress import Progress, SilentProgress, measure_usage
from ...render.rasterizers.registry import choose_rasterizer, make_rasterizer
from ...render.threads import one_torch_thread
from ...render.trial import prepare_rasterizer
from ...types import FitResult, Scene, Views
from ..losses import prepare_loss
from .checkpoint import FitCheckpoint, describe_fit
from .judging import judge_unjudged
from .loop import Fit
from .memory import drawing_bytes, keep_memory
from .options import FitOptions
from .result import make_report, refined_scene, refined_views

logger = logging.getLogger("reconx")


def fit_gaussians(
    scene: Scene,
    views: Views | None = None,
    *,
    options: FitOptions | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> FitResult:
    """Place Gaussians on a scene's pointmaps and fit them to its photos and generated views.

    The same seed on the same machine gives the same bytes.

    Args:
        scene: Photos with cameras and pointmaps.
        views: Frames along a path; generated ones train by their confidence. Those that nobody has
            judged are judged by agreement, and come back judged. None: photos alone.
        options: How; None takes the defaults.
        device: Torch device of the work; the result lies on the CPU.
        seed: Seeds the order of the pictures.
        progress: Told after every step, with a preview whose camera sways around the scene from
            one call to the next; may raise to stop.
        checkpoint: File in which the fit's state is kept, about every twenty seconds and when it is
            stopped; if it exists, the fit goes on from there, to the same bytes. It stays.

    Raises:
        InputError: If an option is out of range, the rasterizer is unknown, the scene holds no
            points, the fit diverges, or the checkpoint is damaged or another fit's.
        MissingDependency: If the rasterizer's packages are absent.
    """
    options = options or FitOptions()
    progress = progress or SilentProgress()
    if options.train_on_generated and views is None:
        logger.info("Generated frames shall train, but none were given: photos train alone.")
    rasterizer = choose_rasterizer(options.rasterizer, device)
    drawing = drawing_bytes(rasterizer, device)
    asked, options = options, keep_memory(scene, views, options, drawing)
    if options != asked:
        logger.info(
            "%d Gaussians instead of %d, to stay within %d MB.",
            options.max_gaussians,
            asked.max_gaussians,
            options.max_memory_mb,
        )
    prepare_rasterizer(rasterizer, device, progress)
    draw = make_rasterizer(rasterizer, device)
    views = judge_unjudged(scene, views, options, device, progress)
    with measure_usage() as usage, one_torch_thread(device):
        prepare_loss(device, progress)
        fit = Fit(scene, views, options, draw, device, progress)
        kept = None
        if checkpoint is not None:
            facts = describe_fit(options, seed, device, rasterizer, scene=scene, views=views)
            kept = FitCheckpoint(checkpoint, facts)
        losses = fit.run(seed, progress.start("Fitting Gaussians", options.steps), kept)
        quality = fit.judge(progress)
    gaussians, poses = fit.gaussians(), fit.poses.poses()
    costs = {
        "seconds": usage.seconds,
        "peak_memory_mb": usage.peak_memory_mb,
        "rasterizer": rasterizer,
    }
    return FitResult(
        gaussians=gaussians,
        scene=refined_scene(scene, poses),
        views=None if views is None else refined_views(views, len(scene.photos), poses),
        report=make_report(scene.photos.names, losses, quality, len(gaussians)) | costs,
        background=fit.background,
    )
