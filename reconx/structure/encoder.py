"""The 3D structure encoder (ReconX, arXiv 2408.16767, eq. 10): a point cloud as tokens.

`F(P) = FFN(CrossAttn(PosEmb(P~), PosEmb(P)))`: a farthest-point subsample asks the whole cloud.
Owns the network; which points it is given lies in `points.py`.
"""

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..checks import check_range
from ..errors import InputError
from ..types import Cameras, Scene, StructureTokens
from .points import StructurePoints, choose_points

GEOMETRY = 9
"""Channels of `describe_places`."""
PLAIN = GEOMETRY + 3
"""Last channels of a token: where its point lies, and its colour in [-1, 1]; as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSizes:
    """Sizes of an encoder; they travel with its weights."""

    width: int = 768
    """Channels of a token."""
    heads: int = 12
    """Attention heads."""
    octaves: int = 10
    """Frequencies of the positional embedding: pi, 2 pi, 4 pi ... per radius of the cloud."""
    points: int = 8192
    """The most points that a cloud is thinned out to."""
    queries: int = 1024
    """Tokens."""
    point_width: int = 256
    """Channels of an embedded point of the cloud, of which there are many."""
    self_blocks: int = 2
    """Self-attention blocks after the cross-attention."""

    def __post_init__(self) -> None:
        """Check that attention heads divide the width."""
        for name, value in asdict(self).items():
            check_range(f"Encoder size '{name}'", value, 0 if name == "self_blocks" else 1)
        check_range("Encoder size 'width'", self.width, PLAIN + 1)
        if self.width % self.heads:
            raise InputError(
                f"An encoder of width {self.width} cannot have {self.heads} heads; expected a "
                "divisor of the width."
            )


class StructureEncoder(nn.Module):
    """Makes tokens of a thinned-out point cloud."""

    def __init__(self, sizes: EncoderSizes) -> None:
        """Build it with random weights; it is trained together with an adapter."""
        super().__init__()
        self.sizes = sizes
        told = 3 * (1 + 2 * sizes.octaves) + PLAIN
        self.embed_query = _embedding(told, sizes.point_width, sizes.width)
        self.embed_point = _embedding(told, sizes.point_width, sizes.point_width)
        self.norm_point = nn.LayerNorm(sizes.point_width)
        self.cross_block = _Block(sizes.width, sizes.heads, sizes.point_width)
        self.self_blocks = nn.ModuleList(
            _Block(sizes.width, sizes.heads, sizes.width) for _ in range(sizes.self_blocks)
        )
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, points: StructurePoints) -> Float[Tensor, "token channel"]:
        """The tokens, one per query, normalised channel by channel but for the plain ones."""
        weight = self.norm.weight
        queries = points.queries.to(weight.device)
        places, colours = describe_places(points.seen), points.colours * 2 - 1
        plain = torch.cat([places, colours], -1).to(weight)
        cloud = torch.cat([self._wave(points.positions.to(weight)), plain], -1)
        tokens = self.embed_query(cloud[queries])
        tokens = self.cross_block(tokens, self.norm_point(self.embed_point(cloud)))
        for block in self.self_blocks:
            tokens = block(tokens)
        return torch.cat([self.norm(tokens)[:, :-PLAIN], plain[queries]], -1)

    def _wave(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, "point channel"]:
        """The positions and their sines and cosines, each axis at each frequency."""
        frequencies = math.pi * 2.0 ** torch.arange(self.sizes.octaves)
        angles = (positions[:, None] * frequencies.to(positions)[:, None]).flatten(1)
        return torch.cat([positions, angles.sin(), angles.cos()], -1)


def encode_structure(
    scene: Scene, reference: Cameras, encoder: StructureEncoder
) -> StructureTokens:
    """Encode a scene's measured points, as the first camera of a clip sees them.

    A similarity applied to the scene and the camera together leaves the tokens as they are, up to
    rounding, and so does another order of the points.

    Args:
        scene: The global point cloud.
        reference: One camera.
        encoder: Trained, if the tokens shall mean anything.

    Raises:
        InputError: If too few points were measured, or there is more or less than one camera.
    """
    points = choose_points(
        scene, reference, points=encoder.sizes.points, queries=encoder.sizes.queries
    )
    with torch.no_grad():
        tokens = encoder(points)
    return StructureTokens(tokens=tokens.float().cpu()[None], reference=reference)


def describe_places(seen: Float[Tensor, "point 3"]) -> Float[Tensor, "point 9"]:
    """Coordinates, and all products of two of them.

    In these a point's squared distance from a ray is linear, so that one scalar product of query
    and key can compare the two.
    """
    x, y, z = seen.unbind(-1)
    return torch.cat([seen, torch.stack([x * x, y * y, z * z, x * y, x * z, y * z], -1)], -1)


def _embedding(channels: int, hidden: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, width))


class _Block(nn.Module):
    """Attention of tokens to a cloud or to themselves, then a feed-forward network."""

    def __init__(self, width: int, heads: int, asked_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(asked_width, 2 * width)
        self.to_out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self,
        tokens: Float[Tensor, "token channel"],
        cloud: Float[Tensor, "point other"] | None = None,
    ) -> Float[Tensor, "token channel"]:
        asking = self.norm_attention(tokens)
        key, value = self.to_kv(asking if cloud is None else cloud).chunk(2, dim=-1)
        # With a batch of one: torch has no fast kernel without a batch.
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(0, 1)[None]
            for part in (self.to_q(asking), key, value)
        )
        found = functional.scaled_dot_product_attention(query, key, value)[0]
        tokens = tokens + self.to_out(found.transpose(0, 1).flatten(1))
        return tokens + self.feed_forward(tokens)
