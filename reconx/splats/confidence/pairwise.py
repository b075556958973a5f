"""Confidence by pairwise matching with a pointmap network, as in ReconX (eq. 14).

The paper matches all frames with each other. Here every frame meets its nearest photos, which
anchor it, and its nearest frames: cost grows linearly with the frames. A frame's confidence is the
maximum over its pairs, as in DUSt3R's own aligner (`cloud_opt/base_opt.py`): what one partner does
not see, another may.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from ...geometry.estimators.pairwise import (
    PairwiseModel,
    encode_photos,
    fit_photos,
    pair_pointmaps,
)
from ...ops.framing import reframe_cameras, reframe_images, reframe_masks
from ...ops.image import resize_images
from ...progress import Progress, run_interruptibly
from ...trajectory.focus import camera_distances, median_depth
from ...types import Cameras, Photos, Scene, Views

ANCHORS = 2
"""Photos that each frame is matched with."""
NEIGHBOURS = 2
"""Frames that each frame is matched with."""


class PairwiseSource:
    """Judges frames by pairs through a network; see `ConfidenceSource` for the contract."""

    def __init__(self, model: object = None, device: str = "cpu") -> None:
        """Keep the model; the work is done where it lies, whatever the device.

        Raises:
            InputError: Without a pairwise model.
        """
        if not isinstance(model, PairwiseModel):
            raise InputError(
                "Confidence source 'pairwise' matches frames by a pairwise network, and "
                f"{'none' if model is None else type(model).__name__} was given. Connect Load "
                "Pointmap Model, or give --estimator dust3r with --checkpoint FILE; or choose the "
                "source agreement."
            )
        self.model = model

    def judge(
        self, scene: Scene, views: Views, progress: Progress
    ) -> Float[Tensor, "frame height width"]:
        """See `ConfidenceSource`."""
        return run_interruptibly(partial(self._judge, scene, views), progress)

    def _judge(
        self, scene: Scene, views: Views, progress: Progress
    ) -> Float[Tensor, "frame height width"]:
        """On a thread of its own: one pair may take seconds."""
        generated = (views.photo_index < 0).nonzero()[:, 0]
        pictures = fit_photos(self.model, _gather(scene, views, generated))
        features = encode_photos(self.model, pictures, progress)
        pairs = choose_partners(_distances(scene, views, generated), len(generated))
        best = torch.ones(len(generated), pictures.height, pictures.width)
        for pair in pair_pointmaps(self.model, pictures, features, pairs, progress):
            for place, found in ((pair.i, pair.confidence_i), (pair.j, pair.confidence_j)):
                if place < len(generated):
                    best[place] = torch.maximum(best[place], found)
        confidence = torch.ones(views.known.shape)
        size = (views.cameras.width, views.cameras.height)
        confidence[generated] = resize_images(best[..., None], *size)[..., 0].clamp_min(1)
        return confidence


def choose_partners(
    distance: Float[Tensor, "picture picture"], frames: int
) -> Sequence[tuple[int, int]]:
    """Ordered pairs, both ways: each frame with its nearest photos and its nearest frames.

    Args:
        distance: Between the cameras of frames, then photos.
        frames: How many of them are frames.

    Returns:
        At most `2 * (ANCHORS + NEIGHBOURS)` pairs per frame; none of two photos.
    """
    edges = set()
    for frame in range(frames):
        ranked = distance[frame].argsort(stable=True).tolist()
        others = [place for place in ranked if place < frames and place != frame][:NEIGHBOURS]
        photos = [place for place in ranked if place >= frames][:ANCHORS]
        edges |= {(min(frame, other), max(frame, other)) for other in (*others, *photos)}
    return [pair for i, j in sorted(edges) for pair in ((i, j), (j, i))]


def _gather(scene: Scene, views: Views, generated: Tensor) -> Photos:
    """Frames, then photos, at the frames' size: a pair has one size."""
    width, height = views.cameras.width, views.cameras.height
    images = reframe_images(scene.photos.images, width, height).clamp(0, 1)
    valid = reframe_masks(scene.photos.valid, width, height)
    names = [f"frame {frame + 1}" for frame in generated.tolist()]
    count = len(names) + len(images)
    return Photos(
        images=torch.cat([views.frames[generated], images]),
        valid=torch.cat([torch.ones_like(views.known[generated]), valid]),
        names=(*names, *scene.photos.names),
        original_sizes=((width, height),) * count,
        to_original=torch.eye(3).repeat(count, 1, 1),
    )


def _distances(scene: Scene, views: Views, generated: Tensor) -> Float[Tensor, "picture picture"]:
    width, height = views.cameras.width, views.cameras.height
    photos = reframe_cameras(scene.photo_cameras, width, height)
    cameras = Cameras.concatenate([views.cameras[generated], photos])
    return camera_distances(cameras, median_depth(scene))
