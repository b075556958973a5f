"""The transformer blocks of DUSt3R. Attributes bear the names of the checkpoints' tensors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .config import HEAD_WIDTH

ROTARY_BASE = 100.0
"""The slowest channel turns by 1 / base per patch, about; no tensor tells it."""
NORM_EPS = 1e-6

Tokens = Float[Tensor, "batch token channel"]
Angles = Float[Tensor, "2 token 1 64"]
"""Cosines, then signed sines, as `rotate` wants them; alike for all heads."""


def rotary_angles(rows: int, columns: int, like: Tensor) -> Angles:
    """Cosine and sine by which queries and keys turn with their patch's place (RoPE, 2D).

    Half of a head's channels turn with the row, half with the column (Su et al., arXiv 2104.09864;
    in two dimensions: CroCo v2, arXiv 2211.10408).

    Args:
        rows: Patches from top to bottom.
        columns: Patches from left to right.
        like: Gives dtype and device.
    """
    quarter = HEAD_WIDTH // 4
    # In float32: half precision cannot hold the angle of a far patch.
    exponents = torch.arange(quarter, device=like.device, dtype=torch.float32) / quarter
    places = torch.cartesian_prod(
        torch.arange(rows, device=like.device), torch.arange(columns, device=like.device)
    )
    angles = (places[..., None] * ROTARY_BASE**-exponents)[:, None, :, None]
    # token, head, axis, end of the pair, frequency
    cosines = torch.cat([angles.cos(), angles.cos()], dim=-2)
    sines = torch.cat([-angles.sin(), angles.sin()], dim=-2)
    return torch.stack([cosines, sines]).flatten(-3).to(like.dtype)


def rotate(
    heads: Float[Tensor, "batch token head channel"], angles: Angles
) -> Float[Tensor, "batch head token channel"]:
    """Turn each head's channel pairs by their angles, and put heads before tokens."""
    cosines, sines = angles
    partners = heads.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)
    return torch.addcmul(heads * cosines, partners, sines).transpose(1, 2)


def attend(
    query: Float[Tensor, "batch head n channel"],
    key: Float[Tensor, "batch head m channel"],
    value: Float[Tensor, "batch m head channel"],
) -> Float[Tensor, "batch n width"]:
    """Softmax attention of all heads, joined again."""
    mixed = functional.scaled_dot_product_attention(query, key, value.transpose(1, 2))
    return mixed.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Tokens of one photo attend to each other."""

    def __init__(self, width: int) -> None:
        """Lay out the layers."""
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tokens, angles: Angles) -> Tokens:
        """Mix the tokens."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, -1, HEAD_WIDTH)).unbind(2)
        return self.proj(attend(rotate(query, angles), rotate(key, angles), value))


class CrossAttention(nn.Module):
    """Tokens of one photo attend to those of the other."""

    def __init__(self, width: int) -> None:
        """Lay out the layers."""
        super().__init__()
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tokens, other: Tokens, angles: Angles) -> Tokens:
        """Mix what the other photo tells."""
        query, key, value = (
            project(source).unflatten(-1, (-1, HEAD_WIDTH))
            for project, source in (
                (self.projq, tokens),
                (self.projk, other),
                (self.projv, other),
            )
        )
        return self.proj(attend(rotate(query, angles), rotate(key, angles), value))


class Mlp(nn.Module):
    """Two layers on each token."""

    def __init__(self, width: int, ratio: int) -> None:
        """Lay out the layers."""
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, tokens: Tokens) -> Tokens:
        """Keep the width."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class EncoderBlock(nn.Module):
    """Self-attention and MLP, each normed before and added."""

    def __init__(self, width: int, mlp_ratio: int) -> None:
        """Lay out the layers."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, mlp_ratio)

    def forward(self, tokens: Tokens, angles: Angles) -> Tokens:
        """One photo's tokens, a block on."""
        tokens = tokens + self.attn(self.norm1(tokens), angles)
        return tokens + self.mlp(self.norm2(tokens))


class DecoderBlock(nn.Module):
    """Self-attention, attention to the other photo and MLP, each normed before and added."""

    def __init__(self, width: int, mlp_ratio: int) -> None:
        """Lay out the layers."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width)
        self.norm_y = nn.LayerNorm(width, eps=NORM_EPS)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = CrossAttention(width)
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, mlp_ratio)

    def forward(self, tokens: Tokens, other: Tokens, angles: Angles) -> Tokens:
        """One photo's tokens, a block on; the other's are those of before."""
        tokens = tokens + self.attn(self.norm1(tokens), angles)
        tokens = tokens + self.cross_attn(self.norm2(tokens), self.norm_y(other), angles)
        return tokens + self.mlp(self.norm3(tokens))
