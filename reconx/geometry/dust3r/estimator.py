"""The geometry estimator of DUSt3R: pairs of photos through the network, then alignment."""

import time
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ...checks import check_device
from ...errors import InputError
from ...ops.photos import fit_size
from ...progress import CostEstimate, Progress, run_interruptibly
from ...types import CameraPrior, Photos, Scene, SceneSource
from ..align.alignment import AlignmentOptions, align_pairs
from ..depth_maps import DepthMaps
from ..estimators.base import GeometryOptions
from ..estimators.pairs import COMPLETE_UP_TO, PAIRS_PER_PHOTO, PairOptions, choose_pairs
from ..estimators.pairwise import encode_photos, fit_photos, pair_pointmaps, photo_likeness
from ..estimators.speed import matmul_speed
from ..given import fit_maps, scene_from_maps
from ..scene import undistort_known
from .model import Dust3rModel

_MATMUL_SHARE = 0.5
"""Of the speed of a large matrix product: what the network reaches."""
_DPT_WORK = 14
"""Products per pixel of a DPT head, in squares of its features; counted."""
_KEPT_BYTES = 16
"""Per pixel and pair: what the aligner keeps of two maps."""
_VIEW_BYTES = 300
"""Per pixel and photo, to fuse, fill and show depths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dust3rOptions:
    """What this estimator alone is told."""

    pairs: PairOptions = field(default_factory=PairOptions)
    """Which photos are matched with which."""
    shared_focal: bool = False
    """One focal length for all photos whose lens is unknown: one camera, one zoom."""


class Dust3rEstimator:
    """Photos to a Scene by DUSt3R; see `GeometryEstimator` for the contract."""

    def __init__(
        self,
        options: GeometryOptions,
        model: Dust3rModel | None = None,
        own: Dust3rOptions | None = None,
    ) -> None:
        """Keep what is told; no work.

        Args:
            options: Sizes and seed. Who loads the model decides on its device.
            model: The loaded network.
            own: None for the usual choices.

        Raises:
            InputError: Without a model.
        """
        if model is None:
            raise InputError(
                "Geometry estimator 'dust3r' needs a checkpoint, and none was given. Connect Load "
                "Pointmap Model, or name the file: --checkpoint FILE."
            )
        self.options, self.model, self.own = options, model, own or Dust3rOptions()

    def estimate_cost(self, photos: Photos) -> CostEstimate:
        """Tell what `estimate` will cost; tries out the device's speed.

        Raises:
            InputError: If the device cannot be used.
        """
        check_device(self.options.device)
        width, height = fit_size(
            photos.width, photos.height, self.model.long_side, self.model.multiple
        )
        count, pixels = len(photos), width * height
        pairs = count * min(count - 1, PAIRS_PER_PHOTO if count > COMPLETE_UP_TO else count)
        encode, decode = _work(self.model, width, height)
        seconds = (count * encode + pairs * decode) / (
            _MATMUL_SHARE * matmul_speed(self.model.network.enc_norm.weight)
        )
        kept = (_KEPT_BYTES * pairs + _VIEW_BYTES * count) * pixels / 1e6
        return CostEstimate(
            seconds=seconds, megabytes=self.model.batch_megabytes(width, height) + kept
        )

    def estimate(self, photos: Photos, progress: Progress) -> Scene:
        """Predict pointmaps of pairs and bring them into one world.

        Raises:
            InputError: With fewer than two photos.
            AlignmentFailed: If the pairs do not determine a world.
        """
        return run_interruptibly(partial(self._estimate, photos), progress)

    def _estimate(self, photos: Photos, progress: Progress) -> Scene:
        """On a thread of its own: one pair may take seconds."""
        if len(photos) < 2:
            raise InputError(f"{len(photos)} photo was given; expected at least 2 of one place.")
        photos = undistort_known(photos)
        began = time.perf_counter()
        fitted = fit_photos(self.model, photos)
        features = encode_photos(self.model, fitted, progress)
        pairs = choose_pairs(len(photos), photo_likeness(features), self.own.pairs)
        stream = pair_pointmaps(self.model, fitted, features, pairs, progress)
        prior, aspect = _known_lenses(fitted)
        options = AlignmentOptions(
            shared_focal=self.own.shared_focal, aspect=aspect, seed=self.options.seed
        )
        alignment = align_pairs(
            stream, photos.names, prior=prior, options=options, progress=progress
        )
        source = SceneSource(
            estimator="dust3r",
            checkpoint=self.model.checkpoint.name,
            licence=self.model.checkpoint.licence,
            seconds={"pointmaps and alignment": time.perf_counter() - began},
        )
        maps = DepthMaps(depth=alignment.depth, confidence=alignment.confidence)
        cameras, maps = fit_maps(photos, alignment.cameras, maps, self.options)
        return scene_from_maps(photos, cameras, maps, source, self.options, progress)


def _known_lenses(photos: Photos) -> tuple[CameraPrior, float]:
    """What is known of the cameras, and fy / fx where the lens is unknown.

    A principal point that is not given lies at the centre of the original, not of its padding.
    """
    prior = photos.prior or CameraPrior()
    K = torch.full((len(photos), 3, 3), torch.nan) if prior.K is None else prior.K.clone()
    axes = photos.to_original[:, [0, 1], [0, 1]]  # original pixels per pixel
    centre: Float[Tensor, "photo 2"] = torch.tensor(photos.original_sizes) / 2
    centre = (centre - photos.to_original[:, :2, 2]) / axes
    K[:, :2, 2] = torch.where(K[:, :2, 2].isnan(), centre, K[:, :2, 2])
    return replace(prior, K=K, distortion=None), float((axes[:, 0] / axes[:, 1]).mean())


def _work(model: Dust3rModel, width: int, height: int) -> tuple[float, float]:
    """Floating-point operations to read a photo, and to decode a pair."""
    config = model.checkpoint.config
    tokens = width * height / model.multiple**2
    wide, deep = config.encoder_width, config.encoder_depth
    encode = deep * (2 * (4 + 2 * config.mlp_ratio) * wide**2 * tokens + 4 * wide * tokens**2)
    wide, deep = config.decoder_width, 2 * config.decoder_depth
    decode = deep * (2 * (8 + 2 * config.mlp_ratio) * wide**2 * tokens + 8 * wide * tokens**2)
    if config.dpt is not None:
        decode += 2 * _DPT_WORK * config.dpt.features**2 * width * height
    return encode, decode
