"""What kind of DUSt3R network a checkpoint holds, read off the names and shapes of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

HEAD_WIDTH = 64
"""Channels of one attention head, in every ViT that DUSt3R uses; no tensor's shape tells it."""
CHANNELS = 4
"""What a head says of each pixel: three coordinates and the confidence."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DptConfig:
    """Widths of a DPT head."""

    levels: tuple[int, int, int, int]
    """Channels of the four pyramid levels, finest first."""
    features: int
    """Channels to which all levels are brought and in which they are fused."""
    last: int
    """Channels before the last layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Sizes of a DUSt3R network."""

    patch: int
    """Side of a patch in pixels."""
    encoder_width: int
    """Channels of an encoder token."""
    encoder_depth: int
    """Blocks of the encoder."""
    decoder_width: int
    """Channels of a decoder token."""
    decoder_depth: int
    """Blocks of each of the two decoders."""
    mlp_ratio: int
    """Width of a block's hidden layer over that of its tokens."""
    dpt: DptConfig | None
    """None: each token's pixels by one linear layer."""


VIT_LARGE = NetworkConfig(
    patch=16,
    encoder_width=1024,
    encoder_depth=24,
    decoder_width=768,
    decoder_depth=12,
    mlp_ratio=4,
    dpt=DptConfig(levels=(96, 192, 384, 768), features=256, last=128),
)
"""The official network of 512 pixels with DPT heads: ViT-L encoder, ViT-B decoders."""


def read_config(shapes: Mapping[str, Shape]) -> NetworkConfig:
    """Tell the sizes of a network from its tensors.

    Says nothing of whether all tensors are there, nor whether the rest fits.

    Raises:
        KeyError: If a tensor from which a size is read is absent; its argument is the name.
        ValueError: If such a tensor has another rank.
    """
    encoder_width, _, patch, _ = shapes["patch_embed.proj.weight"]
    decoder_width, _ = shapes["decoder_embed.weight"]
    hidden, _ = shapes["enc_blocks.0.mlp.fc1.weight"]
    return NetworkConfig(
        patch=patch,
        encoder_width=encoder_width,
        encoder_depth=_count(shapes, "enc_blocks"),
        decoder_width=decoder_width,
        decoder_depth=_count(shapes, "dec_blocks"),
        mlp_ratio=hidden // encoder_width,
        dpt=None if "downstream_head1.proj.weight" in shapes else _read_dpt(shapes),
    )


def _read_dpt(shapes: Mapping[str, Shape]) -> DptConfig:
    head = "downstream_head1.dpt"
    first, second, third, fourth = (
        shapes[f"{head}.act_postprocess.{level}.0.weight"][0] for level in range(4)
    )
    return DptConfig(
        levels=(first, second, third, fourth),
        features=shapes[f"{head}.scratch.layer1_rn.weight"][0],
        last=shapes[f"{head}.head.2.weight"][0],
    )


def _count(shapes: Mapping[str, Shape], blocks: str) -> int:
    pattern = re.compile(rf"{blocks}\.(\d+)\.")
    return len({match[1] for match in map(pattern.match, shapes) if match})
