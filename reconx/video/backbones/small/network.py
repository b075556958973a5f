"""The small video model's network: a U-Net over frames that asks keyframes, and structure.

Convolutions see one frame at a time, each followed by one along time; at the coarsest levels every
patch asks the keyframes' patches (or learned registers), which is where structure tokens enter.
Owns the network and its sizes; what it is told of a clip lies in `inputs.py`.
"""

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from ....checks import check_range
from ....errors import InputError
from .inputs import RAY_CHANNELS, SmallInputs

REGISTERS = 4
"""Learned tokens that every attention may ask too: there is something where no keyframe is."""
GROUP = 8
"""Channels that are normalised together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallSizes:
    """Sizes of the network; they travel with its weights."""

    patch: int = 2
    """Side of the square of pixels that the finest level takes as one."""
    widths: tuple[int, ...] = (48, 96, 192)
    """Channels of each level, finest first; each is half as fine as the one before."""
    heads: int = 4
    """Attention heads."""
    blocks: int = 2
    """Convolution blocks per level on the way down, and again on the way up."""
    attending: int = 2
    """Levels, coarsest first, whose patches ask."""

    def __post_init__(self) -> None:
        """Check that heads and groups divide the widths."""
        for name, value in asdict(self).items():
            if name != "widths":
                check_range(f"Size '{name}' of the small model", value, 1)
        for width in self.widths:
            if width % self.heads or width % GROUP:
                raise InputError(
                    f"A small model of width {width} cannot have {self.heads} heads and groups of "
                    f"{GROUP} channels; expected a multiple of both."
                )
        check_range("Size 'attending' of the small model", self.attending, 1, len(self.widths))

    @property
    def multiple(self) -> int:
        """Width and height of a clip must be multiples of this."""
        return self.patch * 2 ** (len(self.widths) - 1)


class SmallDenoiser(nn.Module):
    """Predicts clean frames from noised ones."""

    def __init__(self, sizes: SmallSizes) -> None:
        """Build it with random weights; at first its answer is 0 everywhere."""
        super().__init__()
        self.sizes = sizes
        told = 4 * sizes.widths[0]
        self.embed_time = nn.Sequential(
            nn.Linear(sizes.widths[0], told), nn.SiLU(), nn.Linear(told, told)
        )
        planes = (3 + 4 + 4) * sizes.patch**2 + RAY_CHANNELS
        self.enter = nn.Conv2d(planes, sizes.widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        before = sizes.widths[0]
        for level, width in enumerate(sizes.widths):
            attends = len(sizes.widths) - level <= sizes.attending
            self.down.append(_Level(before, width, told, sizes, attends=attends))
            after = sizes.widths[max(0, level - 1)]
            self.up.append(_Level(2 * width, width, told, sizes, attends=attends))
            self.up[-1].leave = nn.Conv2d(width, after, 1)
            before = width
        self.middle = _Level(before, before, told, sizes, attends=True)
        self.leave = nn.Sequential(
            nn.GroupNorm(sizes.widths[0] // GROUP, sizes.widths[0]),
            nn.SiLU(),
            _zeroed(nn.Conv2d(sizes.widths[0], 3 * sizes.patch**2, 3, padding=1)),
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
                f"{width} x {height} are not."
            )
        told = self.embed_time(_waves(time, self.sizes.widths[0]).to(noised))
        pictures = torch.cat([noised, inputs.keyframes, inputs.renders], 1)
        pictures = functional.pixel_unshuffle(_to_frames(pictures), self.sizes.patch)
        rays = inputs.ray_planes(height // self.sizes.patch, width // self.sizes.patch)
        rays = _to_frames(rays).to(noised)
        hidden = self.enter(torch.cat([pictures, rays], 1))
        ask = _Asked(frames=frames, rays=rays, told=told, shown=inputs.shown)
        kept = []
        for level, block in enumerate(self.down):
            if level:
                hidden = functional.avg_pool2d(hidden, 2)
            hidden = block(hidden, ask)
            kept.append(hidden)
        hidden = self.middle(hidden, ask)
        for level in reversed(range(len(self.up))):
            hidden = self.up[level](torch.cat([hidden, kept[level]], 1), ask)
            if level:
                hidden = functional.interpolate(hidden, scale_factor=2, mode="nearest")
        made = functional.pixel_shuffle(self.leave(hidden), self.sizes.patch)
        return made.unflatten(0, (clips, frames)).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What all blocks are told beside the picture."""

    frames: int
    rays: Float[Tensor, "clip_frame ray h w"]
    told: Float[Tensor, "clip channel"]
    shown: Bool[Tensor, "clip frame"]


class _Level(nn.Module):
    """Convolution blocks of one width, then perhaps an attention."""

    def __init__(
        self, before: int, width: int, told: int, sizes: SmallSizes, *, attends: bool
    ) -> None:
        super().__init__()
        widths = [before, *[width] * (sizes.blocks - 1)]
        self.blocks = nn.ModuleList(_Convolutions(first, width, told) for first in widths)
        self.attention = KeyframeAttention(width, sizes.heads) if attends else None
        self.leave: nn.Module = nn.Identity()

    def forward(
        self, hidden: Float[Tensor, "clip_frame before h w"], ask: _Asked
    ) -> Float[Tensor, "clip_frame after h w"]:
        for block in self.blocks:
            hidden = block(hidden, ask)
        if self.attention is not None:
            hidden = hidden + self.attention.of_planes(hidden, ask)
        return self.leave(hidden)


class _Convolutions(nn.Module):
    """Two convolutions within a frame and one along time, modulated by the noise level."""

    def __init__(self, before: int, width: int, told: int) -> None:
        super().__init__()
        self.norm_first = nn.GroupNorm(before // GROUP, before)
        self.first = nn.Conv2d(before, width, 3, padding=1)
        self.norm_second = nn.GroupNorm(width // GROUP, width)
        self.modulate = nn.Linear(told, 2 * width)
        self.second = _zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.along_time = _zeroed(nn.Conv1d(width, width, 3, padding=1, padding_mode="replicate"))
        self.skip = nn.Conv2d(before, width, 1) if before != width else nn.Identity()

    def forward(
        self, hidden: Float[Tensor, "clip_frame before h w"], ask: _Asked
    ) -> Float[Tensor, "clip_frame width h w"]:
        inner = self.first(functional.silu(self.norm_first(hidden)))
        scale, shift = self.modulate(ask.told).repeat_interleave(ask.frames, 0).chunk(2, dim=1)
        inner = self.norm_second(inner) * (1 + scale[..., None, None]) + shift[..., None, None]
        hidden = self.skip(hidden) + self.second(functional.silu(inner))
        height, width = hidden.shape[-2:]
        lines = hidden.unflatten(0, (-1, ask.frames)).permute(0, 3, 4, 2, 1).flatten(0, 2)
        moved = self.along_time(functional.silu(lines))
        moved = moved.unflatten(0, (-1, height, width)).permute(0, 4, 3, 1, 2).flatten(0, 1)
        return hidden + moved


class KeyframeAttention(nn.Module):
    """Every patch of a clip asks the patches of its keyframes.

    A query holds what its ray needs to be compared with a point p by a scalar product: the squared
    distance from p to the line of direction d and moment m is `|p|^2 - (p.d)^2 - 2 p.c + |c|^2`,
    with c = d x m the line's point nearest to the origin, so d's products and c are given.
    """

    def __init__(self, width: int, heads: int) -> None:
        """Build it; at first it answers nothing.

        Args:
            width: Channels.
            heads: Must divide them.
        """
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.embed_ray = nn.Linear(RAY_CHANNELS, width)
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)
        self.norm_q = nn.LayerNorm(width)
        self.registers = nn.Parameter(torch.randn(REGISTERS, width) / math.sqrt(width))
        self.to_out = _zeroed(nn.Linear(width, width))

    def of_planes(
        self, hidden: Float[Tensor, "clip_frame width h w"], ask: _Asked
    ) -> Float[Tensor, "clip_frame width h w"]:
        """What all frames of all clips find."""
        height, width = hidden.shape[-2:]
        rays = functional.adaptive_avg_pool2d(ask.rays, (height, width))
        tokens = self.norm(_to_tokens(hidden)) + self.embed_ray(_to_tokens(rays))
        tokens = tokens.unflatten(0, (-1, ask.frames))
        keyframes, valid = _gather_shown(tokens, ask.shown)
        found = self(tokens.flatten(1, 2), keyframes, valid)
        planes = found.unflatten(1, (ask.frames, height, width)).flatten(0, 1)
        return planes.permute(0, 3, 1, 2)

    def forward(
        self,
        tokens: Float[Tensor, "clip query width"],
        keyframes: Float[Tensor, "clip key width"],
        valid: Bool[Tensor, "clip key"],
    ) -> Float[Tensor, "clip query width"]:
        """Attention; the structure adapter joins in between `norm_q` and `to_out`."""
        clips = len(tokens)
        registers = self.registers.expand(clips, -1, -1)
        key, value = self.to_kv(torch.cat([registers.to(tokens), keyframes], 1)).chunk(2, dim=-1)
        query = self.norm_q(self.to_q(tokens))
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
