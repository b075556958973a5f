"""Denoisers of two blocks, one per layout that attentions come in; no package is needed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from reconx.structure.adapter import StructureAdapter, sizes_for
from reconx.structure.sites import Site, SiteRule, find_sites

HEADS, WIDTH = 2, 12
TOKENS, CHANNELS = 5, 16
FRAMES, PIXELS = 3, 4


class Attention(nn.Module):
    """Queries of the video ask a context; the query's norm goes over heads, as most do."""

    heads = HEADS

    def __init__(self, layout: str, width: int) -> None:
        super().__init__()
        self.layout = layout
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.norm_q = nn.LayerNorm(width if layout == "packed" else width // HEADS)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, video: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        joint = self.layout == "heads_first"
        asking = torch.cat([encoder_hidden_states, video], 1) if joint else video
        query = self.to_q(asking)
        if self.layout == "packed":
            query = self.norm_q(query).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        elif joint:
            query = self.norm_q(query.unflatten(-1, (HEADS, -1)).transpose(1, 2))
        else:
            query = self.norm_q(query.unflatten(-1, (HEADS, -1))).transpose(1, 2)
        asked = asking if joint else encoder_hidden_states
        key, value = (
            part(asked).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in (self.to_k, self.to_v)
        )
        found = functional.scaled_dot_product_attention(query, key, value)
        found = self.to_out(found.transpose(1, 2).flatten(2))
        return found[:, encoder_hidden_states.shape[1] :] if joint else found


class Packed(nn.Module):
    """Video in, video out, in a tuple as denoisers of diffusers give it."""

    layout = "packed"

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Attention(self.layout, width) for _ in range(2))

    def forward(self, video: Tensor, text: Tensor) -> tuple[Tensor]:
        for block in self.blocks:
            video = video + block(video, encoder_hidden_states=text)
        return (video,)


class HeadsFirst(Packed):
    """Joint attention, text first."""

    layout = "heads_first"


class HeadsLast(Packed):
    """Cross-attention with a norm per head."""

    layout = "heads_last"


def _rule(**changes: object) -> SiteRule:
    plain = {"family": "toy", "modules": (r"^blocks\.\d+$",), "query": "norm_q", "out": "to_out.0"}
    return SiteRule(**{**plain, **changes})  # type: ignore[arg-type]


RULES = {
    "Packed": _rule(),
    "HeadsFirst": _rule(layout="heads_first", text_first=True),
    "HeadsLast": _rule(layout="heads_last"),
}
DENOISERS: tuple[Callable[[], Packed], ...] = (Packed, HeadsFirst, HeadsLast)


def inputs(batch: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(batch, FRAMES * PIXELS, WIDTH, generator=generator)
    return video, torch.randn(batch, 3, WIDTH, generator=generator)


def tokens_of(groups: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(groups, TOKENS, CHANNELS, generator=torch.Generator().manual_seed(seed))


def adapted(
    denoiser: Packed, gate: float, rank: int | None = None
) -> tuple[StructureAdapter, list[Site]]:
    sites = find_sites(denoiser, RULES)
    torch.manual_seed(2)
    return StructureAdapter(sizes_for(sites, CHANNELS, rank), gate=gate), sites
