"""The geometry estimator without weights: structure from motion, then PatchMatch stereo."""

import time
from dataclasses import replace
from functools import partial

from ...checks import check_device
from ...progress import CostEstimate, Progress, run_interruptibly
from ...types import Photos, Scene
from ..estimators.base import GeometryOptions
from .assemble import assemble_scene
from .cost import estimate_cost
from .sfm import reconstruct_sparse


class StereoEstimator:
    """Photos to a Scene by classical means; see `GeometryEstimator` for the contract."""

    def __init__(self, options: GeometryOptions) -> None:
        """Keep the options; no work."""
        self.options = options

    def estimate_cost(self, photos: Photos) -> CostEstimate:
        """Tell what `estimate` will cost.

        Raises:
            InputError: If the device cannot be used.
        """
        check_device(self.options.device)
        return estimate_cost(photos, self.options)

    def estimate(self, photos: Photos, progress: Progress) -> Scene:
        """Find cameras, measure depth where two photos agree and guess it elsewhere.

        Raises:
            InputError: With fewer than two photos, or one photo given twice.
            AlignmentFailed: If no two photos can be brought into one world.
        """
        return run_interruptibly(partial(self._estimate, photos), progress)

    def _estimate(self, photos: Photos, progress: Progress) -> Scene:
        """On a thread of its own: SIFT of one photo or one bundle adjustment can take seconds."""
        began = time.perf_counter()
        sparse = reconstruct_sparse(photos, self.options.seed, progress)
        seconds = {"structure from motion": time.perf_counter() - began}
        scene = assemble_scene(photos, sparse, self.options, progress)
        seconds |= scene.source.seconds
        return replace(scene, source=replace(scene.source, seconds=seconds))
