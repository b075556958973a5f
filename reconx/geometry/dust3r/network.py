"""The DUSt3R network: a Siamese encoder, two decoders that look at each other, two heads.

Written from the paper (Wang et al., arXiv 2312.14132) and the names and shapes of the published
checkpoints' tensors. Owns no files and no choice of device.
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from .blocks import NORM_EPS, DecoderBlock, EncoderBlock, Tokens, rotary_angles
from .config import NetworkConfig
from .heads import DptHead, LinearHead, activate_confidence, activate_points

Pointmaps = tuple[Float[Tensor, "batch height width 3"], Float[Tensor, "batch height width"]]
"""Points and confidence, float32."""


class Dust3rNetwork(nn.Module):
    """Pointmaps of pairs of photos; both photos of one size, landscape or portrait."""

    def __init__(self, config: NetworkConfig) -> None:
        """Lay out the tensors; `load_checkpoint` fills them."""
        super().__init__()
        self.config = config
        encoder, decoder, ratio = config.encoder_width, config.decoder_width, config.mlp_ratio
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, encoder, config.patch, stride=config.patch)}
        )
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(encoder, ratio) for _ in range(config.encoder_depth)
        )
        self.enc_norm = nn.LayerNorm(encoder, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(encoder, decoder)
        self.dec_blocks, self.dec_blocks2 = (
            nn.ModuleList(DecoderBlock(decoder, ratio) for _ in range(config.decoder_depth))
            for _ in range(2)
        )
        self.dec_norm = nn.LayerNorm(decoder, eps=NORM_EPS)
        self.downstream_head1, self.downstream_head2 = (
            LinearHead(config)
            if config.dpt is None
            else nn.Sequential(OrderedDict(dpt=DptHead(config, config.dpt)))
            for _ in range(2)
        )

    def encode(self, images: Float[Tensor, "batch height width 3"]) -> Tokens:
        """Tokens of photos, row by row.

        Args:
            images: sRGB in [0, 1]; sides are multiples of the patch.
        """
        projection = self.patch_embed["proj"]
        planes = (2 * images - 1).permute(0, 3, 1, 2).to(self.enc_norm.weight.dtype)
        patches = projection(planes)
        angles = rotary_angles(*patches.shape[2:], like=patches)
        tokens = patches.flatten(2).mT
        for block in self.enc_blocks:
            tokens = block(tokens, angles)
        return self.enc_norm(tokens)

    def decode(
        self, first: Tokens, second: Tokens, rows: int, columns: int
    ) -> tuple[Pointmaps, Pointmaps]:
        """Pointmaps of both photos of each pair, all in the first photo's camera.

        Args:
            first: Encoded photos whose cameras are the frames.
            second: The other photo of each pair.
            rows: Patches from top to bottom.
            columns: Patches from left to right.
        """
        angles = rotary_angles(rows, columns, like=first)
        levels = [(first, second)]
        one, two = self.decoder_embed(first), self.decoder_embed(second)
        for block1, block2 in zip(self.dec_blocks, self.dec_blocks2, strict=True):
            one, two = block1(one, two, angles), block2(two, one, angles)
            levels.append((one, two))
        levels[-1] = (self.dec_norm(one), self.dec_norm(two))
        levels1, levels2 = zip(*levels, strict=True)
        return (
            _read(self.downstream_head1, levels1, rows),
            _read(self.downstream_head2, levels2, rows),
        )


def _read(
    head: nn.Module, levels: tuple[Float[Tensor, "batch token _"], ...], rows: int
) -> Pointmaps:
    """In float32 whatever the blocks' dtype: the activations are exponential."""
    raw = head([level.float().unflatten(1, (rows, -1)) for level in levels])
    return activate_points(raw[..., :3]), activate_confidence(raw[..., 3])
