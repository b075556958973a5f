import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_structure import tiny_structure

from reconx.errors import InputError, WeightsNotFound
from reconx.structure.model import StructureModel, load_structure_model, save_structure_model
from reconx.types import Scene


def make(width: int = 24) -> StructureModel:
    return tiny_structure("toy", (12, 12), width=width, token_width=24, rank=4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_structure_model(make(), tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def respoil(file: Path, **metadata: str) -> Path:
    """The same tensors under other metadata."""
    with safe_open(file, "pt") as content:
        told = dict(content.metadata())
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    told = {name: text for name, text in (told | metadata).items() if text}
    save_file(tensors, file, told)
    return file


def test_round_trip(file: Path, plane_scene: Scene) -> None:
    model, loaded = make(), load_structure_model(file)
    assert loaded.encoder.sizes == model.encoder.sizes
    assert loaded.adapter.sizes == model.adapter.sizes
    assert loaded.facts == model.facts
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    tokens = [
        part.condition(plane_scene, plane_scene.cameras[0]).tokens.tokens
        for part in (model.eval(), loaded)
    ]
    assert torch.equal(*tokens)
    assert not any(weight.requires_grad for weight in loaded.parameters())
    assert not list(file.parent.glob("*.part"))


def test_half_precision_of_the_adapter_alone(file: Path) -> None:
    loaded = load_structure_model(file, dtype=torch.bfloat16)
    assert loaded.adapter.branches[0].gate.dtype == torch.bfloat16
    assert loaded.encoder.norm.weight.dtype == torch.float32


def test_no_file_names_the_training(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"no structure model.*reconx train structure"):
        load_structure_model(tmp_path / "none.safetensors")


def test_a_file_cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"'toy.safetensors' cannot be read .*cut short"):
        load_structure_model(file)


def test_other_tensors(file: Path) -> None:
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(InputError, match="its format is 'not told'"):
        load_structure_model(file)


def test_a_later_format(file: Path) -> None:
    with pytest.raises(InputError, match="'reconx-structure-9'.*expected .*'reconx-structure-2'"):
        load_structure_model(respoil(file, format="reconx-structure-9"))


@pytest.mark.parametrize("part", ["encoder", "adapter", "facts"])
def test_a_description_that_is_incomplete(file: Path, part: str) -> None:
    with pytest.raises(InputError, match=f"not as expected: '{part}'"):
        load_structure_model(respoil(file, **{part: ""}))


@pytest.mark.parametrize(
    ("part", "told"), [("encoder", {"points": 300.5}), ("facts", {"licence": 7})]
)
def test_a_description_of_other_types(file: Path, part: str, told: dict[str, Any]) -> None:
    (name, value) = next(iter(told.items()))
    with pytest.raises(InputError, match=f"not as expected: '{name}' is {value}"):
        load_structure_model(respoil(file, **{part: json.dumps(told)}))


def test_sizes_that_do_not_fit_the_tensors(file: Path) -> None:
    told = {"family": "toy", "widths": [12, 12], "token_width": 24, "rank": 5}
    with pytest.raises(InputError, match=r"has shape \(4, 24\), expected \(5, 24\); 8 tensors"):
        load_structure_model(respoil(file, adapter=json.dumps(told)))


def test_parts_that_do_not_fit_each_other() -> None:
    with pytest.raises(InputError, match="tokens of 36 channels, and the adapter takes 24"):
        make(width=36)
