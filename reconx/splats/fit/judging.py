"""Frames that train by their confidence, and have none yet."""

import logging

from ...progress import Progress
from ...types import Scene, Views
from ..confidence.base import judge_views
from ..confidence.registry import make_source
from .options import FitOptions

logger = logging.getLogger("reconx")


def want_judgement(views: Views, options: FitOptions) -> bool:
    """Whether frames train by their confidence, and nobody has judged them."""
    weighed = options.train_on_generated and options.confidence_weights
    return weighed and views.confidence is None


def judge_unjudged(
    scene: Scene, views: Views | None, options: FitOptions, device: str, progress: Progress
) -> Views | None:
    """The views as a fit trains on them: judged by agreement, where nobody has judged them.

    Args:
        scene: As for `fit_gaussians`.
        views: As for `fit_gaussians`.
        options: As for `fit_gaussians`.
        device: Torch device of the work.
        progress: Told after every frame; may raise to stop.
    """
    if views is None or not want_judgement(views, options):
        return views
    logger.info("Nobody has judged the generated frames: agreement with photos and frames does.")
    return judge_views(views, scene, make_source("agreement", device=device), progress)
