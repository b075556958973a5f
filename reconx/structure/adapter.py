"""The structure adapter: structure tokens join a frozen denoiser's attentions (ReconX, eq. 11).

`F_out = Softmax(Q Kg^T / sqrt(d)) Vg + tanh(gate) Softmax(Q KF^T / sqrt(d)) VF`: Q is the block's
own, after its norm; K_F and V_F are new projections of the tokens. The sum is formed before the
block's output projection. Owns those projections, and hooking them in for a while.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..checks import check_range, check_shape
from ..errors import BackboneMismatch, InputError
from .encoder import GEOMETRY, PLAIN
from .sites import Site

TRAINING_GATE = 0.01
"""Gate at which training starts: at exactly 0 only the gate itself has a gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSizes:
    """Sizes of an adapter, and the denoiser they are made for; they travel with its weights."""

    family: str
    """Of the denoiser, as `SiteRule` names it."""
    widths: tuple[int, ...]
    """Channels of each attention, from the first block to the last."""
    token_width: int
    """Channels of a structure token."""
    rank: int | None = None
    """Rank of the projections; None = full."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.widths:
            raise InputError("An adapter needs at least one attention; none was given.")
        for width in (*self.widths, self.token_width, self.rank or 1):
            check_range("Adapter size", width, 1)


def sizes_for(sites: Sequence[Site], token_width: int, rank: int | None = None) -> AdapterSizes:
    """The sizes of an adapter for a denoiser."""
    return AdapterSizes(
        family=sites[0].rule.family,
        widths=tuple(site.width for site in sites),
        token_width=token_width,
        rank=rank,
    )


class StructureAdapter(nn.Module):
    """New keys, values and a gate for every attention of one denoiser."""

    def __init__(self, sizes: AdapterSizes, *, gate: float = 0.0) -> None:
        """Build it with random projections.

        Args:
            sizes: From `sizes_for`.
            gate: At 0 the denoiser is unchanged, bit for bit; train from `TRAINING_GATE`.
        """
        super().__init__()
        self.sizes = sizes
        self.branches = nn.ModuleList(
            Branch(sizes.token_width, width, sizes.rank, gate) for width in sizes.widths
        )

    def check_fit(self, sites: Sequence[Site]) -> None:
        """Require the denoiser that the adapter was made for.

        Raises:
            BackboneMismatch: If it is of another family or size.
        """
        found = sizes_for(sites, self.sizes.token_width, self.sizes.rank)
        if found != self.sizes:
            raise BackboneMismatch(
                f"The structure adapter was trained for {_describe(self.sizes)}, and the model is "
                f"{_describe(found)}. Load the file that was trained for this model."
            )


@torch.no_grad()
def read_places(adapter: StructureAdapter, sites: Sequence[Site]) -> None:
    """Let keys begin with where tokens lie, for denoisers whose queries ask for that.

    Training may change it; but attention looks at the right tokens from the first step on.
    Projections of low rank have no room for that, and begin at random.
    """
    for site, branch in zip(sites, adapter.branches, strict=True):
        if site.rule.geometric and adapter.sizes.rank is None:
            assert isinstance(branch, Branch)
            assert isinstance(branch.to_k, nn.Linear)
            keys = branch.to_k.weight.unflatten(0, (site.heads, -1))
            keys[:, :GEOMETRY] = 0
            keys[:, :GEOMETRY, -PLAIN : GEOMETRY - PLAIN] = torch.eye(GEOMETRY)


class Branch(nn.Module):
    """What one attention reads of the tokens."""

    def __init__(self, token_width: int, width: int, rank: int | None, gate: float) -> None:
        """Build it; a rank factors both projections."""
        super().__init__()
        self.to_k = _projection(token_width, width, rank)
        self.to_v = _projection(token_width, width, rank)
        self.gate = nn.Parameter(torch.tensor(float(gate)))

    def forward(
        self,
        query: Float[Tensor, "batch head query channel"],
        tokens: Float[Tensor, "group token feature"],
        *,
        frames_in_batch: bool = False,
        clips: int = 1,
    ) -> Float[Tensor, "batch query width"]:
        """The gated second term of eq. 11.

        Args:
            query: The block's own.
            tokens: One group for all queries, or one per latent frame; clip after clip.
            frames_in_batch: Whether a clip's batch goes through the frames; else the queries do.
            clips: How many equal parts of the batch have tokens of their own.

        Raises:
            BackboneMismatch: If the groups do not divide the frames.
        """
        batch, heads, count, _ = query.shape
        groups = len(tokens) // clips
        if groups > 1:
            divided = batch // clips if frames_in_batch else count
            if divided % groups:
                raise BackboneMismatch(
                    f"Structure tokens of {groups} latent frames do not divide {divided} positions "
                    "of the denoiser. Encode one group per latent frame of the clip, or one in all."
                )
            if not frames_in_batch:
                query = query.unflatten(2, (groups, -1)).transpose(1, 2).flatten(0, 1)
        key, value = (
            _project(part, tokens, query).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in (self.to_k, self.to_v)
        )
        repeats = len(query) // len(tokens)
        key, value = (
            part.unflatten(0, (clips, 1, groups))
            .expand(-1, repeats, *[-1] * part.ndim)
            .flatten(0, 2)
            for part in (key, value)
        )
        found = functional.scaled_dot_product_attention(query, key, value)
        # Groups of queries go back behind each other.
        found = found.transpose(1, 2).flatten(2).reshape(batch, count, -1)
        return self.gate.tanh().to(found) * found


class Reading:
    """What the hooks of attached attentions are told, and whether any of them ran."""

    def __init__(self, tokens: Float[Tensor, "group token channel"], rows: Sequence[bool]) -> None:
        """Begin with these tokens and rows."""
        self.tokens = tokens
        """What is read: the same by all rows, or with `own` the tokens of each, row after row."""
        self.rows = tuple(rows)
        """Which equal parts of the batch read structure from now on; empty = none."""
        self.own = False
        """Whether each row has tokens of its own, as the clips of a training batch have."""
        self.used = False
        """Whether an attention has read it."""


@contextmanager
def attach(
    adapter: StructureAdapter,
    sites: Sequence[Site],
    tokens: Float[Tensor, "group token channel"],
    *,
    rows: Sequence[bool] = (True,),
) -> Iterator[Reading]:
    """Let a denoiser's attentions read structure tokens, for one forward pass or several.

    Hooks take part only within the block, and nothing of the denoiser is changed. Whether they did
    take part, `Reading.used` tells.

    Args:
        adapter: On the denoiser's device, lest its weights travel at every pass; in any dtype.
        sites: From `find_sites`.
        tokens: Likewise.
        rows: Which equal parts of the batch read them, such as (False, True) for an unconditional
            and a conditional half. Others are left as they are.

    Raises:
        BackboneMismatch: If the adapter is another denoiser's.
    """
    adapter.check_fit(sites)
    check_shape("Structure tokens", tokens, None, None, adapter.sizes.token_width)
    reading = Reading(tokens, rows)
    with ExitStack() as hooks:
        for site, branch in zip(sites, adapter.branches, strict=True):
            for handle in _Join(site, branch, reading).hook():
                hooks.callback(handle.remove)
        yield reading


def check_used(reading: Reading) -> None:
    """Require that a denoiser that ran has read structure somewhere.

    Not everywhere: other add-ons may leave out single blocks.

    Raises:
        BackboneMismatch: If every attention was passed by, as a compiled network does.
    """
    if not reading.used:
        raise BackboneMismatch(
            "The denoiser ran, but none of its attentions read the structure. A compiled model "
            "does that, or an add-on that replaces attentions: leave it out, or the structure."
        )


class _Join:
    """The hooks of one site: the query is kept on its way, and used where the result comes by."""

    def __init__(self, site: Site, branch: nn.Module, reading: Reading) -> None:
        self.site, self._branch, self._reading = site, branch, reading
        self._query: Tensor | None = None
        self._text = 0

    def hook(self) -> Iterator[Any]:
        yield self.site.query.register_forward_hook(self._keep_query)
        yield self.site.out.register_forward_pre_hook(self._add)
        if self.site.rule.text_first:
            attention = self.site.attention
            yield attention.register_forward_pre_hook(self._measure_text, with_kwargs=True)

    def _measure_text(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        text = kwargs["encoder_hidden_states"] if len(args) < 2 else args[1]
        self._text = text.shape[1]

    def _keep_query(self, _: nn.Module, __: Any, query: Tensor) -> None:
        self._query = query

    def _add(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        result, rows = args[0], self._reading.rows
        query, self._query = self._query, None
        if query is None or not any(rows):
            return args
        query = self._heads_first(query)[:, :, self._text :]
        if len(query) % len(rows):
            raise BackboneMismatch(
                f"A batch of {len(query)} cannot be parted into {len(rows)} equal parts, of which "
                "some read structure. Leave out what changes the batch, or the structure."
            )
        # A copy of the same strides: with others the projection would round otherwise.
        joined = torch.empty_strided(
            result.shape, result.stride(), dtype=result.dtype, device=result.device
        ).copy_(result)
        batch_first = joined.transpose(0, 1) if self.site.rule.sequence_first else joined
        chosen = [number for number, reads in enumerate(rows) if reads]
        asking, parts = (part.unflatten(0, (len(rows), -1)) for part in (query, batch_first))
        # Rows with tokens of their own are asked at once, for speed in training.
        for together in [chosen] if self._reading.own else [[number] for number in chosen]:
            found = self._ask(asking[together].flatten(0, 1), together)
            parts[together, :, self._text :] += found.to(joined).unflatten(0, (len(together), -1))
        self._reading.used = True
        return (joined, *args[1:])

    def _ask(
        self, query: Float[Tensor, "batch head query channel"], rows: Sequence[int]
    ) -> Float[Tensor, "batch query width"]:
        tokens, folded = self._reading.tokens, self.site.rule.frames_in_batch
        if not self._reading.own:
            return self._branch(query, tokens, frames_in_batch=folded)
        tokens = tokens.unflatten(0, (len(self._reading.rows), -1))[rows].flatten(0, 1)
        return self._branch(query, tokens, frames_in_batch=folded, clips=len(rows))

    def _heads_first(self, query: Tensor) -> Float[Tensor, "batch head query channel"]:
        layout = self.site.rule.layout
        if layout == "packed":
            query = query.unflatten(-1, (self.site.heads, -1))
        if layout != "heads_first":
            query = query.flatten(1, -3).transpose(1, 2)
        return query


def _projection(channels: int, width: int, rank: int | None) -> nn.Module:
    if rank is None:
        return nn.Linear(channels, width, bias=False)
    return nn.Sequential(nn.Linear(channels, rank, bias=False), nn.Linear(rank, width, bias=False))


def _project(
    projection: nn.Module, tokens: Float[Tensor, "group token channel"], like: Tensor
) -> Float[Tensor, "group token width"]:
    """In the denoiser's precision and on its device, whichever the weights are kept in."""
    tokens = tokens.to(like)
    for weight in projection.parameters():
        tokens = functional.linear(tokens, weight.to(like))
    return tokens


def _describe(sizes: AdapterSizes) -> str:
    """Blocks in a row of one width are told together."""
    runs = ", ".join(f"{len(list(run))} of {width}" for width, run in groupby(sizes.widths))
    return f"a {sizes.family} with attentions {runs} channels"
