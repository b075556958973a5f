import pytest
import torch
from torch import Tensor
from toy_denoisers import CHANNELS, Packed, adapted, inputs, tokens_of

from reconx.structure.adapter import StructureAdapter, attach
from reconx.structure.encoder import EncoderSizes, StructureEncoder
from reconx.structure.guidance import guide_denoiser
from reconx.structure.model import StructureCondition, StructureFacts, StructureModel
from reconx.types import Cameras, StructureTokens

CAMERA = Cameras(camera_to_world=torch.eye(4)[None], K=torch.eye(3)[None], width=4, height=4)


def condition_of(adapter: StructureAdapter) -> StructureCondition:
    sizes = EncoderSizes(width=CHANNELS, heads=1, point_width=4)
    model = StructureModel(StructureEncoder(sizes), adapter, StructureFacts())
    tokens = StructureTokens(tokens=tokens_of(), reference=CAMERA)
    return StructureCondition(tokens=tokens, model=model)


def predict(strength: float, rows: tuple[bool, ...] | None, batch: int = 2) -> Tensor:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    condition = condition_of(adapter)
    with guide_denoiser(
        denoiser, sites, condition, strength=strength, rows=lambda args, kwargs: rows
    ):
        made = denoiser(*inputs(batch))[0]
    assert not denoiser._forward_hooks
    assert not denoiser._forward_pre_hooks
    return made


def test_steps_without_structure_are_the_plain_model() -> None:
    plain = Packed()(*inputs(2))[0]
    assert torch.equal(predict(1, None), plain)
    assert torch.equal(predict(1, (False, False)), plain)


def test_strength_1_is_the_model_with_structure() -> None:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    with attach(adapter, sites, tokens_of(), rows=(False, True)):
        conditioned = denoiser(*inputs(2))[0]
    assert torch.equal(predict(1, (False, True)), conditioned)


@pytest.mark.parametrize("strength", [0.3, 2.5])
def test_other_strengths_lie_on_the_line_through_both(strength: float) -> None:
    plain, full = predict(1, None), predict(1, (False, True))
    made = predict(strength, (False, True))
    assert torch.allclose(made, plain + strength * (full - plain), atol=1e-6)
    assert torch.equal(made[:1], plain[:1])


@pytest.mark.parametrize(("strength", "evaluations"), [(1, 1), (1.5, 2)])
def test_evaluations(strength: float, evaluations: int) -> None:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    count = []
    denoiser.blocks[0].register_forward_pre_hook(lambda *_: count.append(1))
    with guide_denoiser(
        denoiser,
        sites,
        condition_of(adapter),
        strength=strength,
        rows=lambda args, kwargs: (True,),
    ):
        denoiser(*inputs())
    assert len(count) == evaluations


def test_a_forward_of_the_instance_is_called() -> None:
    """Offloading replaces an instance's forward."""
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    own, calls = denoiser.forward, []

    def offloaded(*args: Tensor) -> tuple[Tensor]:
        calls.append(1)
        return own(*args)

    denoiser.forward = offloaded
    condition = condition_of(adapter)
    with guide_denoiser(denoiser, sites, condition, strength=1, rows=lambda args, kwargs: (True,)):
        denoiser(*inputs())
    assert calls == [1]
    assert denoiser.forward is offloaded


def test_an_error_leaves_the_model_as_it_was() -> None:
    denoiser = Packed()
    adapter, sites = adapted(denoiser, 1.0)
    plain = denoiser(*inputs())[0]
    condition = condition_of(adapter)
    with (
        pytest.raises(RuntimeError),
        guide_denoiser(denoiser, sites, condition, strength=1, rows=lambda args, kwargs: (True,)),
    ):
        denoiser(torch.zeros(1, 2, CHANNELS), torch.zeros(1, 2, CHANNELS))
    assert torch.equal(denoiser(*inputs())[0], plain)
