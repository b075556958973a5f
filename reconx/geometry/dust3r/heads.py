"""From decoder tokens to points and confidence. Attributes bear the checkpoints' names."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .config import CHANNELS, DptConfig, NetworkConfig

Grid = Float[Tensor, "batch row column _"]
"""Tokens in the order of their patches; the encoder's are wider than the decoders'."""
Plane = Float[Tensor, "batch channel row column"]
Doubled = Float[Tensor, "batch channel 2*row 2*column"]
Raw = Float[Tensor, "batch height width 4"]


class LinearHead(nn.Module):
    """Each token tells its own pixels."""

    def __init__(self, config: NetworkConfig) -> None:
        """Lay out the one layer."""
        super().__init__()
        self.patch = config.patch
        self.proj = nn.Linear(config.decoder_width, CHANNELS * config.patch**2)

    def forward(self, levels: Sequence[Grid]) -> Raw:
        """Read the last level alone."""
        pixels = self.proj(levels[-1]).unflatten(-1, (CHANNELS, self.patch, self.patch))
        # batch row column channel y x -> batch (row y) (column x) channel
        return pixels.permute(0, 1, 4, 2, 5, 3).flatten(3, 4).flatten(1, 2)


class DptHead(nn.Module):
    """Tokens of four depths become a pyramid, fused from coarse to fine (arXiv 2103.13413)."""

    def __init__(self, config: NetworkConfig, dpt: DptConfig) -> None:
        """Lay out the layers."""
        super().__init__()
        widths = (config.encoder_width, *[config.decoder_width] * 3)
        finest, fine, middle, coarse = dpt.levels
        resamplers = (
            nn.ConvTranspose2d(finest, finest, 4, stride=4),
            nn.ConvTranspose2d(fine, fine, 2, stride=2),
            nn.Identity(),
            nn.Conv2d(coarse, coarse, 3, stride=2, padding=1),
        )
        self.act_postprocess = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, level, 1), resampler)
            for width, level, resampler in zip(widths, dpt.levels, resamplers, strict=True)
        )
        self.scratch = nn.ModuleDict()
        for n, level in enumerate(dpt.levels, 1):
            self.scratch[f"layer{n}_rn"] = nn.Conv2d(level, dpt.features, 3, padding=1, bias=False)
            self.scratch[f"refinenet{n}"] = Fusion(dpt.features, joins=n < 4)
        self.head = nn.Sequential(
            nn.Conv2d(dpt.features, dpt.features // 2, 3, padding=1),
            nn.UpsamplingBilinear2d(scale_factor=2),
            nn.Conv2d(dpt.features // 2, dpt.last, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(dpt.last, CHANNELS, 1),
        )

    def forward(self, levels: Sequence[Grid]) -> Raw:
        """Read the first level, which is the encoder's, the one halfway, at 3/4, and the last."""
        last = len(levels) - 1
        chosen = [levels[n].permute(0, 3, 1, 2) for n in (0, last // 2, last * 3 // 4, last)]
        pyramid = [
            self.scratch[f"layer{n}_rn"](resample(plane))
            for n, (plane, resample) in enumerate(zip(chosen, self.act_postprocess, strict=True), 1)
        ]
        fused = self.scratch["refinenet4"](pyramid[3])
        for n in (3, 2, 1):
            finer = pyramid[n - 1]
            # The coarsest level rounds an odd side up, so doubling it gives a line too much.
            fused = fused[..., : finer.shape[2], : finer.shape[3]]
            fused = self.scratch[f"refinenet{n}"](fused, finer)
        return self.head(fused).permute(0, 2, 3, 1)


class Fusion(nn.Module):
    """Join a finer level to what was fused so far, and double its size."""

    def __init__(self, features: int, *, joins: bool) -> None:
        """Lay out the layers; the coarsest level joins nothing."""
        super().__init__()
        if joins:
            self.resConfUnit1 = ResidualUnit(features)
        self.resConfUnit2 = ResidualUnit(features)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, fused: Plane, finer: Plane | None = None) -> Doubled:
        """Both of one size."""
        if finer is not None:
            fused = fused + self.resConfUnit1(finer)
        # Interpolation leaves mixing of channels as it is; before it there is a quarter to mix.
        mixed = self.out_conv(self.resConfUnit2(fused))
        return functional.interpolate(mixed, scale_factor=2, mode="bilinear", align_corners=True)


class ResidualUnit(nn.Module):
    """Two convolutions, added."""

    def __init__(self, features: int) -> None:
        """Lay out the layers."""
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, plane: Plane) -> Plane:
        """Keep the size."""
        return plane + self.conv2(functional.relu(self.conv1(functional.relu(plane))))


def activate_points(raw: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Stretch the distance from the origin: x / |x| * expm1(|x|)."""
    norm = torch.linalg.vector_norm(raw, dim=-1, keepdim=True)
    return raw / norm.clamp_min(1e-8) * torch.expm1(norm)


def activate_confidence(raw: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """1 + exp(x): at least 1, which means no evidence (arXiv 2312.14132, eq. 4)."""
    return 1 + raw.exp()
