"""What every source of confidence is, and how views are judged by one."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ...checks import check_shape
from ...progress import Progress, SilentProgress
from ...types import Scene, Views
from .weights import REFERENCE_CONFIDENCE


@runtime_checkable
class ConfidenceSource(Protocol):
    """Says how far each pixel of generated frames is to be trusted."""

    def judge(
        self, scene: Scene, views: Views, progress: Progress
    ) -> Float[Tensor, "frame height width"]:
        """Judge every generated frame.

        Args:
            scene: The photos and what they measured.
            views: Frames along a path; at least one is generated.
            progress: Told after every frame or pair; may raise to stop.

        Returns:
            Confidence >= 1, where 10 is as good as captured; on the CPU. The order of the frames
            changes nothing, the cost grows linearly with their number. Rows of captured frames
            hold anything.
        """
        ...


def judge_views(
    views: Views, scene: Scene, source: ConfidenceSource, progress: Progress | None = None
) -> Views:
    """Views whose frames are judged; captured ones count fully.

    What somebody has judged before is judged anew.

    Args:
        views: Frames along a path.
        scene: Where they were filmed.
        source: Who judges.
        progress: Who is told.
    """
    captured = views.photo_index >= 0
    confidence = torch.full(views.known.shape, REFERENCE_CONFIDENCE)
    if not bool(captured.all()):
        found = source.judge(scene, views, progress or SilentProgress())
        check_shape("Confidence", found, *views.known.shape)
        confidence[~captured] = found[~captured]
    return replace(views, confidence=confidence)
