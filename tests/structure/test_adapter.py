from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from toy_denoisers import (
    CHANNELS,
    DENOISERS,
    FRAMES,
    HEADS,
    PIXELS,
    RULES,
    WIDTH,
    HeadsFirst,
    Packed,
    adapted,
    inputs,
    tokens_of,
)

from reconx.errors import BackboneMismatch, InputError
from reconx.structure.adapter import TRAINING_GATE, StructureAdapter, attach, check_used, sizes_for
from reconx.structure.sites import find_rule, find_sites

Make = Callable[[], Packed]


@pytest.mark.parametrize("make", DENOISERS)
def test_gate_0_changes_nothing_and_gate_1_does(make: Make) -> None:
    denoiser = make()
    plain = denoiser(*inputs())[0]
    for gate, same in ((0.0, True), (1.0, False)):
        adapter, sites = adapted(denoiser, gate)
        with attach(adapter, sites, tokens_of()):
            assert torch.equal(denoiser(*inputs())[0], plain) == same
    assert torch.equal(denoiser(*inputs())[0], plain), "hooks outlived their block"


@pytest.mark.parametrize("make", DENOISERS)
@pytest.mark.parametrize("rank", [None, 3])
def test_the_sum_of_equation_11(make: Make, rank: int | None) -> None:
    """Against the equation, written out for one attention."""
    denoiser = make()
    attention = denoiser.blocks[0]
    adapter, sites = adapted(denoiser, 0.7, rank)
    branch, (video, text) = adapter.branches[0], inputs()
    joint = make is HeadsFirst
    asking = torch.cat([text, video], 1) if joint else video
    query = attention.to_q(asking)
    if attention.layout == "packed":
        query = attention.norm_q(query).unflatten(-1, (HEADS, -1))
    else:
        query = attention.norm_q(query.unflatten(-1, (HEADS, -1)))
    asked = asking if joint else text
    own = _attend(query, attention.to_k(asked), attention.to_v(asked))
    added = _attend(query, branch.to_k(tokens_of()), branch.to_v(tokens_of()))
    if joint:
        added[:, :3] = 0
    expected = attention.to_out[0](own + torch.tanh(torch.tensor(0.7)) * added)
    expected = expected[:, 3:] if joint else expected
    with attach(adapter, sites, tokens_of()):
        made = attention(video, encoder_hidden_states=text)
        denoiser.blocks[1](video, encoder_hidden_states=text)
    assert torch.allclose(made, expected, atol=1e-6)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """By the definition, head by head; the query is batch, token, head, channel."""
    heads = []
    for head, (k, v) in enumerate(zip(key.chunk(HEADS, -1), value.chunk(HEADS, -1), strict=True)):
        scores = query[:, :, head] @ k.mT / (WIDTH // HEADS) ** 0.5
        heads.append(functional.softmax(scores, -1) @ v)
    return torch.cat(heads, -1)


@pytest.mark.parametrize("make", DENOISERS)
def test_rows_without_structure_are_untouched(make: Make) -> None:
    denoiser = make()
    adapter, sites = adapted(denoiser, 1.0)
    plain = denoiser(*inputs(batch=4))[0]
    with attach(adapter, sites, tokens_of(), rows=(False, True)):
        made = denoiser(*inputs(batch=4))[0]
    assert torch.equal(made[:2], plain[:2])
    for row in (2, 3):
        video, text = (part[row : row + 1] for part in inputs(batch=4))
        with attach(adapter, sites, tokens_of()):
            alone = denoiser(video, text)[0]
        assert torch.allclose(made[row : row + 1], alone, atol=1e-6)
        assert not torch.allclose(made[row], plain[row], atol=1e-3)


@pytest.mark.parametrize("make", DENOISERS)
def test_each_latent_frame_reads_its_own_tokens(make: Make) -> None:
    """Other tokens for the last frame change the first attention's last frame alone."""
    denoiser = make()
    adapter, sites = adapted(denoiser, 1.0)
    tokens = tokens_of(groups=FRAMES)
    other = torch.cat([tokens[:-1], tokens_of(seed=1)])
    made = []
    for given in (tokens, other):
        with attach(adapter, sites, given):
            video, text = inputs(batch=2)
            made.append(denoiser.blocks[0](video, encoder_hidden_states=text))
            denoiser.blocks[1](video, encoder_hidden_states=text)
    changed = (made[0] - made[1]).abs().amax(-1) > 1e-5
    assert not changed[:, :-PIXELS].any()
    assert changed[:, -PIXELS:].all()


def test_equal_groups_are_one_group() -> None:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    made = []
    for tokens in (tokens_of(), tokens_of().expand(FRAMES, -1, -1)):
        with attach(adapter, sites, tokens):
            made.append(denoiser(*inputs(batch=2))[0])
    assert torch.allclose(*made, atol=1e-6)


def test_frames_in_the_batch_read_their_own_tokens() -> None:
    rules = {"Packed": replace(RULES["Packed"], frames_in_batch=True)}
    denoiser = Packed()
    sites = find_sites(denoiser, rules)
    adapter = StructureAdapter(sizes_for(sites, CHANNELS), gate=1.0)
    tokens = tokens_of(groups=FRAMES)
    video, text = inputs(batch=2 * FRAMES)
    with attach(adapter, sites, tokens, rows=(False, True)):
        made = denoiser(video, text)[0]
    for frame in range(FRAMES):
        row = slice(FRAMES + frame, FRAMES + frame + 1)
        with attach(adapter, sites, tokens[frame : frame + 1]):
            assert torch.allclose(made[row], denoiser(video[row], text[row])[0], atol=1e-6)
    assert torch.equal(made[:FRAMES], denoiser(video[:FRAMES], text[:FRAMES])[0])


def test_groups_that_do_not_divide_the_frames_are_refused() -> None:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    with (
        pytest.raises(BackboneMismatch, match="5 latent frames do not divide 12 positions"),
        attach(adapter, sites, tokens_of(groups=5)),
    ):
        denoiser(*inputs())


@pytest.mark.parametrize("make", DENOISERS)
def test_gradients_reach_the_adapter_and_the_tokens_alone(make: Make) -> None:
    denoiser = make().requires_grad_(False)
    adapter, sites = adapted(denoiser, TRAINING_GATE)
    tokens = tokens_of().requires_grad_()
    with attach(adapter, sites, tokens):
        denoiser(*inputs())[0].square().sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.any()
    assert all(weight.grad is not None and weight.grad.any() for weight in adapter.parameters())
    assert all(weight.grad is None for weight in denoiser.parameters())


def test_half_precision_of_either_side() -> None:
    denoiser = Packed().bfloat16()
    adapter, sites = adapted(denoiser, 1.0)
    video, text = (part.bfloat16() for part in inputs())
    with attach(adapter, sites, tokens_of()):
        made = denoiser(video, text)[0]
    assert made.dtype == torch.bfloat16
    with attach(adapter.bfloat16(), sites, tokens_of()):
        assert torch.allclose(denoiser(video, text)[0], made, atol=0.05)


def test_an_adapter_of_another_model_is_refused() -> None:
    adapter, _ = adapted(Packed(), 1.0)
    other = Packed()
    other.blocks.append(type(other.blocks[0])("packed", WIDTH))
    sites = find_sites(other, RULES)
    with (
        pytest.raises(
            BackboneMismatch,
            match=r"trained for a toy .* 2 of 12 channels, .* 3 of 12",
        ),
        attach(adapter, sites, tokens_of()),
    ):
        pass


def test_tokens_of_another_width_are_refused() -> None:
    adapter, sites = adapted(Packed(), 1.0)
    with (
        pytest.raises(InputError, match=r"Structure tokens has shape .*expected \(any, any, 16\)"),
        attach(adapter, sites, torch.zeros(1, 5, 9)),
    ):
        pass


def test_a_model_compiled_before_is_refused() -> None:
    with pytest.raises(BackboneMismatch, match="was compiled"):
        find_sites(torch.compile(Packed(), backend="eager"), RULES)
    compiled = Packed()
    compiled.blocks[1].compile(backend="eager")
    with pytest.raises(BackboneMismatch, match=r"was compiled \('blocks.1'\)"):
        find_sites(compiled, RULES)


def test_a_model_compiled_behind_its_back_is_caught() -> None:
    """The host swaps compiled blocks in for a call: the module that was hooked goes unused."""
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    compiled = torch.compile(denoiser, backend="eager")
    compiled(*inputs())
    with attach(adapter, sites, tokens_of()) as reading:
        compiled(*inputs())
    with pytest.raises(BackboneMismatch, match="none of its attentions read the structure"):
        check_used(reading)


def test_blocks_that_others_leave_out_are_no_fault() -> None:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    video, text = inputs()
    with attach(adapter, sites, tokens_of()) as reading:
        denoiser.blocks[1](video, encoder_hidden_states=text)
    check_used(reading)


def test_rows_that_do_not_divide_the_batch_are_refused() -> None:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    with (
        pytest.raises(BackboneMismatch, match="batch of 3 cannot be parted into 2"),
        attach(adapter, sites, tokens_of(), rows=(False, True)),
    ):
        denoiser(*inputs(batch=3))


def test_an_unknown_model_is_refused_by_name() -> None:
    assert find_rule(torch.nn.Linear(2, 2), RULES) is None
    with pytest.raises(BackboneMismatch, match="a Linear. Choose .*: Packed, HeadsFirst"):
        find_sites(torch.nn.Linear(2, 2), RULES)


def test_a_model_that_looks_otherwise_is_refused() -> None:
    bare = Packed()
    bare.blocks = torch.nn.ModuleList()
    with pytest.raises(BackboneMismatch, match="has no part named like"):
        find_sites(bare, RULES)
    with pytest.raises(BackboneMismatch, match="no part named like time_stack"):
        find_sites(Packed(), {"Packed": replace(RULES["Packed"], mark="time_stack")})
    odd = Packed()
    del odd.blocks[0].norm_q
    with pytest.raises(BackboneMismatch, match="Attention 'blocks.0' .* not built as expected"):
        find_sites(odd, RULES)


def test_low_rank_projections_are_small() -> None:
    full, low = (adapted(Packed(), 1.0, rank)[0] for rank in (None, 1))
    count = lambda adapter: sum(weight.numel() for weight in adapter.parameters())  # noqa: E731
    assert count(full) == 2 * (2 * CHANNELS * WIDTH + 1)
    assert count(low) == 2 * (2 * (CHANNELS + WIDTH) + 1)


@pytest.mark.parametrize("make", DENOISERS)
@pytest.mark.parametrize("groups", [1, FRAMES])
def test_clips_of_a_batch_read_their_own_tokens(make: Make, groups: int) -> None:
    """As if each went alone, and a clip whose row is off reads none."""
    denoiser = make()
    adapter, sites = adapted(denoiser, 1.0)
    video, text = inputs(3)
    own = [tokens_of(groups, seed) for seed in range(3)]
    with attach(adapter, sites, torch.cat(own), rows=(True, False, True)) as reading:
        reading.own = True
        together = denoiser(video, text)[0]
    for clip, tokens in enumerate(own):
        with attach(adapter, sites, tokens, rows=() if clip == 1 else (True,)):
            alone = denoiser(video[[clip]], text[[clip]])[0]
        torch.testing.assert_close(together[[clip]], alone)


@pytest.mark.parametrize("groups", [1, FRAMES])
def test_clips_with_frames_in_the_batch_read_their_own_tokens(groups: int) -> None:
    adapter, _ = adapted(Packed(), 1.0)
    branch = adapter.branches[0]
    query = torch.randn(2 * FRAMES, HEADS, PIXELS, WIDTH // HEADS)
    own = [tokens_of(groups, seed) for seed in range(2)]
    together = branch(query, torch.cat(own), frames_in_batch=True, clips=2)
    alone = [
        branch(part, tokens, frames_in_batch=True)
        for part, tokens in zip(query.chunk(2), own, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone))
