"""The geometry estimator of networks that see all photos at once."""

import logging
import time
from dataclasses import replace
from functools import partial

from ...checks import check_device
from ...errors import InputError
from ...ops.photos import fit_size, resize_photos
from ...progress import CostEstimate, Progress, run_interruptibly
from ...types import Photos, Scene
from ..estimators.base import GeometryOptions
from ..estimators.speed import matmul_speed
from ..given import scene_from_network
from ..scene import undistort_known
from .model import LONG_SIDE, PATCH, FeedForwardModel

logger = logging.getLogger("reconx")

_MATMUL_SHARE = 0.5
"""Of the speed of a large matrix product: what such a network reaches."""
_WIDTH, _GLOBAL_BLOCKS = 1024, 24
"""Channels, and blocks in which all tokens look at each other."""
_TOKEN_BYTES = 400_000
"""Per patch: the tokens that are kept of every block, and the planes of the heads."""


class FeedForwardEstimator:
    """Photos to a Scene by one pass of a network; see `GeometryEstimator` for the contract.

    Known poses say where the world is; known lenses only help to remove distortion, for these
    networks are not told of them.
    """

    def __init__(self, options: GeometryOptions, model: FeedForwardModel | None = None) -> None:
        """Keep what is told; no work.

        Args:
            options: Sizes. Who loads the model decides on its device.
            model: The loaded network.

        Raises:
            InputError: Without a model.
        """
        if model is None:
            raise InputError(
                "This geometry estimator needs a checkpoint, and none was given. Name the file: "
                "--checkpoint FILE."
            )
        self.options, self.model = options, model

    def estimate_cost(self, photos: Photos) -> CostEstimate:
        """Tell what `estimate` will cost; tries out the device's speed.

        Raises:
            InputError: If the device cannot be used.
        """
        check_device(self.options.device)
        width, height = _network_size(photos)
        tokens = len(photos) * (width // PATCH) * (height // PATCH)
        weights = list(self.model.network.parameters())
        work = 2 * sum(part.numel() for part in weights) * tokens
        work += 4 * _GLOBAL_BLOCKS * _WIDTH * tokens**2
        return CostEstimate(
            seconds=work / (_MATMUL_SHARE * matmul_speed(weights[0])),
            megabytes=_TOKEN_BYTES * tokens / 1e6,
        )

    def estimate(self, photos: Photos, progress: Progress) -> Scene:
        """Predict depth and cameras of all photos.

        Raises:
            InputError: With fewer than two photos.
            AlignmentFailed: If nothing is known of photo 1, or a lens is impossible.
        """
        return run_interruptibly(partial(self._estimate, photos), progress)

    def _estimate(self, photos: Photos, progress: Progress) -> Scene:
        """On a thread of its own: the one pass may take minutes on a CPU."""
        if len(photos) < 2:
            raise InputError(f"{len(photos)} photo was given; expected at least 2 of one place.")
        photos = undistort_known(photos)
        began = time.perf_counter()
        task = progress.start("looking at all photos", 1)
        given = self.model.predict(resize_photos(photos, *_network_size(photos)).images)
        task.update(1)
        prior = photos.prior
        if prior is not None and prior.K is not None and bool(prior.K.isfinite().all((1, 2)).any()):
            logger.info("%s finds focal lengths of its own; known ones go unused", given.estimator)
        scene = scene_from_network(photos, given, self.options, progress)
        source = replace(
            scene.source,
            checkpoint=self.model.checkpoint,
            seconds={"network and filling": time.perf_counter() - began},
        )
        return replace(scene, source=source)


def _network_size(photos: Photos) -> tuple[int, int]:
    return fit_size(photos.width, photos.height, LONG_SIDE, PATCH)
