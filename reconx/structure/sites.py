"""Where a denoiser's attentions lie, and how their tensors are laid out.

A rule describes one kind of denoiser by names of classes and modules, so that nothing is imported
and a model of any package can be described. Owns finding; `adapter.py` hooks what is found.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from ..errors import BackboneMismatch

HEAD_COUNTS = ("heads", "num_heads", "n_heads")
"""Attributes in which attention modules keep their number of heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRule:
    """The attentions of one kind of denoiser that read text or picture, and so structure too."""

    family: str
    """Denoisers of one family and size take the same adapter, whichever package they are of."""
    modules: tuple[str, ...]
    """Patterns of the attention modules' full names, in the order of the blocks."""
    query: str
    """Submodule whose output is the query, after its norm if it has one."""
    out: str
    """Submodule that projects the attention's result."""
    layout: Literal["packed", "heads_first", "heads_last"] = "packed"
    """The query: batch, token, channel; batch, head, token, channel; batch, token, head, channel.
    Tokens may be several dimensions with heads last."""
    text_first: bool = False
    """Joint attention: text stands before the video in one sequence. The attention module is then
    called with the text's part as `encoder_hidden_states`, or as its second argument."""
    sequence_first: bool = False
    """The attention's result is token, batch, channel."""
    mark: str | None = None
    """Pattern of a module's name that only this kind has among those of its class."""
    frames_in_batch: bool = False
    """Frames are folded into the batch; else a sequence goes through a clip frame by frame."""
    geometric: bool = False
    """Each head's query begins with factors of `encoder.describe_places`; see `read_places`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One attention of one denoiser."""

    rule: SiteRule
    name: str
    """Full name of the attention module, for error texts."""
    attention: nn.Module
    query: nn.Module
    out: nn.Module
    heads: int
    width: int
    """Channels of all heads together."""


def _unet(prefixes: tuple[str, ...], blocks: str) -> tuple[str, ...]:
    return tuple(rf"^{prefix}.*(?<!temporal_){blocks}\.\d+\.attn2$" for prefix in prefixes)


_WAN = SiteRule(family="wan", modules=(r"^blocks\.\d+\.attn2$",), query="norm_q", out="to_out.0")
_LTX = SiteRule(
    family="ltx", modules=(r"^transformer_blocks\.\d+\.attn2$",), query="norm_q", out="to_out.0"
)
DIFFUSERS_RULES: Mapping[str, SiteRule] = {
    "WanTransformer3DModel": _WAN,
    "WanVACETransformer3DModel": _WAN,
    "LTXVideoTransformer3DModel": _LTX,
    "CogVideoXTransformer3DModel": SiteRule(
        family="cogvideox",
        modules=(r"^transformer_blocks\.\d+\.attn1$",),
        query="norm_q",
        out="to_out.0",
        layout="heads_first",
        text_first=True,
    ),
    "HunyuanVideo15Transformer3DModel": SiteRule(
        family="hunyuan",
        modules=(r"^transformer_blocks\.\d+\.attn$",),
        query="norm_q",
        out="to_out.0",
        layout="heads_last",
    ),
    "UNetSpatioTemporalConditionModel": SiteRule(
        family="svd",
        modules=_unet(("down_blocks", "mid_block", "up_blocks"), "transformer_blocks"),
        query="to_q",
        out="to_out.0",
        frames_in_batch=True,
    ),
}
"""By the denoiser's class in the package diffusers."""


def find_sites(denoiser: nn.Module, rules: Mapping[str, SiteRule]) -> list[Site]:
    """The attentions of a denoiser, from its first block to its last.

    Args:
        denoiser: The network, on any device.
        rules: By names of classes; a subclass is found by its base's name.

    Raises:
        BackboneMismatch: If no rule describes the denoiser, it does not look as described, or it
            was compiled: a compiled network ignores hooks that come after.
    """
    rule = find_rule(denoiser, rules)
    if rule is None:
        raise BackboneMismatch(
            f"Structure cannot be given to a {type(denoiser).__name__}. Choose a model with one of "
            f"these denoisers: {', '.join(rules)}."
        )
    by_name = dict(denoiser.named_modules())
    for name, module in by_name.items():
        # torch.compile wraps a module; Module.compile leaves a mark on it.
        if type(module).__name__ == "OptimizedModule" or getattr(
            module, "_compiled_call_impl", None
        ):
            raise BackboneMismatch(
                f"The denoiser was compiled ('{name or type(denoiser).__name__}'), and a compiled "
                "network ignores the structure condition. Leave out what compiles it."
            )
    marked = rule.mark is None or any(re.search(rule.mark, name) for name in by_name)
    sites = [
        _site(rule, name, module)
        for pattern in rule.modules
        for name, module in by_name.items()
        if marked and re.search(pattern, name)
    ]
    if not sites:
        wanted = " or ".join(rule.modules if marked else [str(rule.mark)])
        raise BackboneMismatch(
            f"A {type(denoiser).__name__} has no part named like {wanted}; structure cannot be "
            "given to it. Choose another model."
        )
    return sites


def find_rule(denoiser: nn.Module, rules: Mapping[str, SiteRule]) -> SiteRule | None:
    """The rule that describes a denoiser, by its class or one that it derives from."""
    found = (
        rules[base.__name__] for base in _unwrapped(denoiser).__mro__ if base.__name__ in rules
    )
    return next(found, None)


def _unwrapped(denoiser: nn.Module) -> type[nn.Module]:
    """The network's class, also under torch.compile."""
    return type(getattr(denoiser, "_orig_mod", denoiser))


def _site(rule: SiteRule, name: str, attention: nn.Module) -> Site:
    try:
        query, out = attention.get_submodule(rule.query), attention.get_submodule(rule.out)
        heads = next(getattr(attention, count) for count in _heads_of(attention))
        width: Any = out.in_features
    except (AttributeError, StopIteration) as error:
        raise BackboneMismatch(
            f"Attention '{name}' of the denoiser is not built as expected of the family "
            f"{rule.family} ({error or 'its number of heads is not told'}). Update this pack, or "
            "leave the structure out."
        ) from error
    return Site(
        rule=rule,
        name=name,
        attention=attention,
        query=query,
        out=out,
        heads=heads,
        width=width,
    )


def _heads_of(attention: nn.Module) -> Iterator[str]:
    return (count for count in HEAD_COUNTS if hasattr(attention, count))
