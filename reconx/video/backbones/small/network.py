"""The small video model's network: a U-Net over frames that asks keyframes, and structure.

Convolutions see one frame at a time, then its neighbours in time; patches ask those of the
keyframes (or learned registers), which is where structure tokens enter. What it makes is added to
a first guess: the render of the photos where there is one, else a cross-fade of the keyframes.
Owns the network and its sizes; what it is told of a clip lies in `inputs.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from ....checks import check_range
from ....errors import InputError
from ....structure.encoder import GEOMETRY
from ....structure.sites import SiteRule
from .inputs import PICTURE_CHANNELS, RAY_CHANNELS, SmallInputs, compare_with_places

REGISTERS = 4
"""Learned tokens that every attention may ask too: there is something where no keyframe is."""
GROUP = 8
"""Channels that are normalised together."""
SHARPNESS = (150.0, 600.0)
"""Of the first and the last head at first: the mean colour that 256 tokens of a room then give
an unseen view's rays is nearer to the truth than a cross-fade, before anything is learned."""

SITES: Mapping[str, SiteRule] = {
    "SmallDenoiser": SiteRule(
        family="small",
        modules=(r"^(middle|up)\.\d+\.attention$",),
        query="norm_q",
        out="to_out",
        geometric=True,
    )
}
"""Where structure enters, as `find_sites` takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallSizes:
    """Sizes of the network; they travel with its weights."""

    patch: int = 2
    """Side of the square of pixels that the finest level takes as one."""
    widths: tuple[int, ...] = (48, 96)
    """Channels of each level, finest first; each is half as fine as the one before."""
    heads: int = 3
    """Attention heads."""
    blocks: int = 2
    """Pairs of convolutions and an attention at the coarsest level."""

    def __post_init__(self) -> None:
        """Check that heads and groups divide the widths."""
        for name, value in asdict(self).items():
            if name != "widths":
                check_range(f"Size '{name}' of the small model", value, 1)
        if not self.widths:
            raise InputError("A small model needs at least one level; its widths are empty.")
        for width in self.widths:
            if width % self.heads or width % GROUP or width <= self.heads * GEOMETRY:
                raise InputError(
                    f"A small model of width {width} cannot have {self.heads} heads and groups of "
                    f"{GROUP} channels; expected a multiple of both, and over {GEOMETRY} channels "
                    "per head."
                )

    @property
    def multiple(self) -> int:
        """Width and height of a clip must be multiples of this."""
        return self.patch * 2 ** (len(self.widths) - 1)


class SmallDenoiser(nn.Module):
    """Predicts clean frames from noised ones."""

    def __init__(self, sizes: SmallSizes) -> None:
        """Build it with random weights; at first its answer is the first guess."""
        super().__init__()
        self.sizes = sizes
        finest, coarsest = sizes.widths[0], sizes.widths[-1]
        told = 2 * finest
        self.embed_time = nn.Sequential(nn.Linear(finest, told), nn.SiLU())
        planes = (3 + PICTURE_CHANNELS) * sizes.patch**2 + RAY_CHANNELS
        self.enter = nn.Conv2d(planes, finest, 1)
        finer = sizes.widths[:-1]
        self.down = nn.ModuleList(_Convolutions(width, told) for width in finer)
        self.shrink = nn.ModuleList(
            nn.Conv2d(*pair, 1) for pair in zip(sizes.widths, sizes.widths[1:], strict=False)
        )
        self.middle = nn.ModuleList(
            _Asking(coarsest, told, sizes.heads, 1) for _ in range(sizes.blocks)
        )
        self.grow = nn.ModuleList(
            nn.Conv2d(*pair, 1) for pair in zip(sizes.widths[1:], sizes.widths, strict=False)
        )
        self.up = nn.ModuleList(
            _Asking(width, told, sizes.heads, 2 ** (len(finer) - level))
            for level, width in enumerate(finer)
        )
        self.leave = nn.Sequential(
            nn.GroupNorm(finest // GROUP, finest),
            nn.SiLU(),
            _zeroed(nn.Conv2d(finest, 3 * sizes.patch**2, 3, padding=1)),
        )

    def forward(
        self,
        noised: Float[Tensor, "clip 3 frame height width"],
        time: Float[Tensor, " clip"],
        inputs: SmallInputs,
    ) -> Float[Tensor, "clip 3 frame height width"]:
        """Clean frames in [-1, 1], at least on the average.

        Args:
            noised: `(1 - t) clean + t noise`.
            time: The noise level t of each clip, in [0, 1].
            inputs: What is known of the clips.

        Raises:
            InputError: If the size is no multiple of `sizes.multiple`.
        """
        clips, _, frames, height, width = noised.shape
        if height % self.sizes.multiple or width % self.sizes.multiple:
            raise InputError(
                f"The small model makes frames whose sides are multiples of {self.sizes.multiple}; "
                f"{width} x {height} are not. Choose others."
            )
        guess, pictures = inputs.pictures()
        patches = functional.pixel_unshuffle(
            _to_frames(torch.cat([noised, pictures], 1)), self.sizes.patch
        )
        rays = inputs.ray_planes(height // self.sizes.patch, width // self.sizes.patch)
        ask = _Asked(
            frames=frames,
            rays=_to_frames(rays).to(noised),
            told=self.embed_time(_waves(time, self.sizes.widths[0]).to(noised)),
            shown=inputs.shown,
        )
        hidden = self.enter(torch.cat([patches, ask.rays], 1).to(memory_format=torch.channels_last))
        hidden = self._through_levels(hidden, ask)
        made = functional.pixel_shuffle(self.leave(hidden), self.sizes.patch)
        return guess + made.unflatten(0, (clips, frames)).transpose(1, 2)

    def _through_levels(
        self, hidden: Float[Tensor, "clip_frame width h w"], ask: "_Asked"
    ) -> Float[Tensor, "clip_frame width h w"]:
        kept = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            hidden = block(hidden, ask)
            kept.append(hidden)
            hidden = shrink(functional.avg_pool2d(hidden, 2))
        for block in self.middle:
            hidden = block(hidden, ask)
        for level in reversed(range(len(kept))):
            hidden = functional.interpolate(self.grow[level](hidden), scale_factor=2)
            hidden = self.up[level](kept[level] + hidden, ask)
        return hidden


@dataclass(frozen=True, slots=True)
class _Asked:
    """What all blocks are told beside the picture."""

    frames: int
    rays: Float[Tensor, "clip_frame ray h w"]
    told: Float[Tensor, "clip channel"]
    shown: Bool[Tensor, "clip frame"]


class _Asking(nn.Module):
    """An attention between convolutions."""

    def __init__(self, width: int, told: int, heads: int, pooled: int) -> None:
        super().__init__()
        self.before = _Convolutions(width, told)
        self.attention = KeyframeAttention(width, heads, pooled)
        self.after = _Convolutions(width, told)

    def forward(
        self, hidden: Float[Tensor, "clip_frame width h w"], ask: _Asked
    ) -> Float[Tensor, "clip_frame width h w"]:
        hidden = self.before(hidden, ask)
        hidden = hidden + self.attention.of_planes(hidden, ask)
        return self.after(hidden, ask)


class _Convolutions(nn.Module):
    """One convolution within a frame and one along time, modulated by the noise level."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(width // GROUP, width)
        self.within = nn.Conv2d(width, width, 3, padding=1)
        self.modulate = nn.Linear(told, 2 * width)
        self.along_time = _zeroed(nn.Conv2d(width, width, (3, 1)))

    def forward(
        self, hidden: Float[Tensor, "clip_frame width h w"], ask: _Asked
    ) -> Float[Tensor, "clip_frame width h w"]:
        scale, shift = self.modulate(ask.told).repeat_interleave(ask.frames, 0).chunk(2, dim=1)
        inner = self.norm(hidden) * (1 + scale[..., None, None]) + shift[..., None, None]
        inner = functional.silu(self.within(inner))
        # One line per pixel: two-dimensional convolutions are far faster than torch's others.
        lines = inner.flatten(2).unflatten(0, (-1, ask.frames)).transpose(1, 2)
        moved = self.along_time(functional.pad(lines, (0, 0, 1, 1), mode="replicate"))
        return hidden + moved.transpose(1, 2).reshape(hidden.shape)


class RayQuery(nn.Module):
    """Queries whose heads begin with what their rays compare points with; the rest is content."""

    def __init__(self, width: int, heads: int) -> None:
        """Build it: each head is sharper than the one before.

        Args:
            width: Of all heads together.
            heads: Must divide it, and leave room beside the geometry.
        """
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width // heads - GEOMETRY)
        self.log_sharpness = nn.Parameter(torch.linspace(*SHARPNESS, heads).log())
        self.nearness = nn.Parameter(torch.zeros(heads))

    def forward(
        self,
        content: Float[Tensor, "clip query content"],
        rays: Float[Tensor, "clip query ray"],
    ) -> Float[Tensor, "clip query width"]:
        """Such that scalar products over the root of a head's channels are what is meant."""
        content = self.norm(content.unflatten(-1, (self.heads, -1)))
        root = math.sqrt(content.shape[-1] + GEOMETRY)
        places = compare_with_places(rays, self.log_sharpness.exp() * root, self.nearness * root)
        return torch.cat([places, content], -1).flatten(2)


class KeyframeAttention(nn.Module):
    """Every patch of a clip asks the patches of its keyframes; and structure, by the adapter."""

    def __init__(self, width: int, heads: int, pooled: int) -> None:
        """Build it.

        Args:
            width: Channels.
            heads: Must divide them.
            pooled: Side of the square of patches whose mean a keyframe is asked for.
        """
        super().__init__()
        self.heads, self.pooled = heads, pooled
        self.norm = nn.LayerNorm(width)
        self.embed_ray = nn.Linear(RAY_CHANNELS, width)
        self.to_q = nn.Linear(width, width - heads * GEOMETRY)
        self.norm_q = RayQuery(width, heads)
        self.to_kv = nn.Linear(width, 2 * width)
        with torch.no_grad():
            # Where a keyframe's patch lies is not known yet.
            for part in (self.to_kv.weight, self.to_kv.bias):
                part[:width].unflatten(0, (heads, -1))[:, :GEOMETRY] = 0
        self.registers = nn.Parameter(torch.randn(REGISTERS, width) / math.sqrt(width))
        self.to_out = nn.Linear(width, width)

    def of_planes(
        self, hidden: Float[Tensor, "clip_frame width h w"], ask: _Asked
    ) -> Float[Tensor, "clip_frame width h w"]:
        """What all frames of all clips find."""
        height, width = hidden.shape[-2:]
        rays = _to_tokens(functional.adaptive_avg_pool2d(ask.rays, (height, width)))
        tokens = self.norm(_to_tokens(hidden)) + self.embed_ray(rays)
        coarse = functional.avg_pool2d(tokens.mT.unflatten(2, (height, width)), self.pooled)
        coarse = _to_tokens(coarse).unflatten(0, (-1, ask.frames))
        keyframes, valid = _gather_shown(coarse, ask.shown)
        tokens, rays = (
            part.unflatten(0, (-1, ask.frames)).flatten(1, 2) for part in (tokens, rays)
        )
        found = self(tokens, rays, keyframes, valid)
        planes = found.unflatten(1, (ask.frames, height, width)).flatten(0, 1)
        return planes.permute(0, 3, 1, 2)

    def forward(
        self,
        tokens: Float[Tensor, "clip query width"],
        rays: Float[Tensor, "clip query ray"],
        keyframes: Float[Tensor, "clip key width"],
        valid: Bool[Tensor, "clip key"],
    ) -> Float[Tensor, "clip query width"]:
        """Attention; the structure adapter joins in between `norm_q` and `to_out`."""
        clips = len(tokens)
        registers = self.registers.expand(clips, -1, -1)
        key, value = self.to_kv(torch.cat([registers.to(tokens), keyframes], 1)).chunk(2, dim=-1)
        query = self.norm_q(self.to_q(tokens), rays)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        allowed = functional.pad(valid, (REGISTERS, 0), value=True)[:, None, None]
        mask = None if bool(valid.all()) else allowed
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.to_out(found.transpose(1, 2).flatten(2))


def _gather_shown(
    tokens: Float[Tensor, "clip frame patch width"], shown: Bool[Tensor, "clip frame"]
) -> tuple[Float[Tensor, "clip key width"], Bool[Tensor, "clip key"]]:
    """The tokens of each clip's keyframes, filled up to one count; which of them are real."""
    count = int(shown.sum(1).max())
    order = shown.int().argsort(dim=1, descending=True, stable=True)[:, :count]
    rows = torch.arange(len(tokens), device=tokens.device)[:, None]
    real = shown[rows, order][..., None].expand(-1, -1, tokens.shape[2])
    return tokens[rows, order].flatten(1, 2), real.flatten(1)


def _to_frames(clip: Float[Tensor, "clip channel frame h w"]) -> Float[Tensor, "n channel h w"]:
    return clip.transpose(1, 2).flatten(0, 1)


def _to_tokens(planes: Float[Tensor, "n channel h w"]) -> Float[Tensor, "n patch channel"]:
    return planes.flatten(2).mT


def _waves(time: Float[Tensor, " clip"], channels: int) -> Float[Tensor, "clip channel"]:
    """Noise levels as sines and cosines of 1 to 1000 radians per level."""
    frequencies = torch.logspace(0, 3, channels // 2, device=time.device)
    angles = time[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def _zeroed(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
