"""DUSt3R as a `PairwiseModel`."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..estimators.pairwise import DecodedPairs, PhotoFeatures
from .checkpoint import CheckpointFacts, load_checkpoint
from .config import CHANNELS
from .network import Dust3rNetwork

PLANES = 4
"""Times the widest plane of a head: what it is made of, itself, what comes of it, and scratch."""


class Dust3rModel:
    """Reads photos and decodes pairs; works wherever its network lies.

    DUSt3R names a pixel by the integer coordinates of its centre, this library by those + 0.5. Its
    pointmaps have one entry per pixel and need no shift; only a K that somebody fits to them in
    DUSt3R's coordinates has its principal point 0.5 less than ours.
    """

    def __init__(self, network: Dust3rNetwork, checkpoint: CheckpointFacts) -> None:
        """Wrap a loaded network.

        Args:
            network: May be moved to other devices at any time between calls.
            checkpoint: Where it came from.
        """
        self.network = network
        self.checkpoint = checkpoint
        self.long_side = checkpoint.long_side
        self.multiple = checkpoint.config.patch

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "photo height width 3"]) -> PhotoFeatures:
        """See `PairwiseModel`."""
        height, width = images.shape[1:3]
        device = self.network.enc_norm.weight.device
        return PhotoFeatures(
            tokens=self.network.encode(images.to(device)),
            rows=height // self.multiple,
            columns=width // self.multiple,
        )

    @torch.no_grad()
    def decode(self, first: PhotoFeatures, second: PhotoFeatures) -> DecodedPairs:
        """See `PairwiseModel`."""
        maps_i, maps_j = self.network.decode(first.tokens, second.tokens, first.rows, first.columns)
        return DecodedPairs(
            points_i=maps_i[0].cpu(),
            points_j=maps_j[0].cpu(),
            confidence_i=maps_i[1].cpu(),
            confidence_j=maps_j[1].cpu(),
        )

    def batch_megabytes(self, width: int, height: int) -> float:
        """See `PairwiseModel`: the tokens of all blocks, and the planes before the last layer."""
        config = self.checkpoint.config
        tokens = 2 * config.decoder_depth * width * height // self.multiple**2
        channels = CHANNELS if config.dpt is None else config.dpt.last
        numbers = tokens * config.decoder_width + PLANES * channels * width * height
        return 4 * numbers / 1e6


def load_dust3r(
    path: str | Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Dust3rModel:
    """Load a checkpoint; see `load_checkpoint` for arguments and errors."""
    return Dust3rModel(*load_checkpoint(Path(path), dtype=dtype, device=device))
