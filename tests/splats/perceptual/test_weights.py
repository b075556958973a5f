from pathlib import Path

import pytest
import torch
from lpips_files import PLACES, heads, trunk
from safetensors.torch import save_file

from reconx.errors import InputError, UnsafeCheckpoint, WeightsNotFound
from reconx.splats.perceptual.weights import load_lpips


def test_a_folder_with_the_files_as_published(tmp_path: Path):
    torch.save(trunk(), tmp_path / "alexnet-owt-7be5be79.pth")
    torch.save(heads(), tmp_path / "alex.pth")
    network = load_lpips(tmp_path)
    for place, convolution in zip(PLACES, network.convolutions(), strict=True):
        assert torch.equal(convolution.weight, trunk()[f"features.{place}.weight"])
    assert [float(head.mean()) for head in network.heads] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_one_file_of_safetensors_with_the_names_of_the_package(tmp_path: Path):
    named = {}
    for name, tensor in trunk().items():
        place = name.split(".")[1]
        stage = {"0": 1, "3": 2, "6": 3, "8": 4, "10": 5}.get(place, 0)
        named[name.replace("features", f"net.slice{stage}")] = tensor
    save_file(named | heads(), tmp_path / "lpips.safetensors")
    network = load_lpips(tmp_path / "lpips.safetensors")
    assert torch.equal(network.convolutions()[3].weight, trunk()["features.8.weight"])


def test_what_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(WeightsNotFound, match=r"no weights of LPIPS at '.*nowhere"):
        load_lpips(tmp_path / "nowhere")
    with pytest.raises(WeightsNotFound, match=r"no weights of LPIPS at"):
        load_lpips(tmp_path)  # an empty folder
    torch.save(trunk(), tmp_path / "trunk.pth")
    with pytest.raises(InputError, match="it lacks head lin0"):
        load_lpips(tmp_path)
    torch.save(heads(), tmp_path / "heads.pth")
    with pytest.raises(InputError, match="its trunk has 0 convolutions, expected 5 or 13"):
        load_lpips(tmp_path / "heads.pth")


def test_a_wrong_shape_is_named(tmp_path: Path):
    wrong = trunk() | heads() | {"features.3.weight": torch.zeros(192, 64, 3, 3)}
    torch.save(wrong, tmp_path / "lpips.pth")
    expected = r"weight 3 of the trunk has shape \(192, 64, 3, 3\), expected \(192, 64, 5, 5\)"
    with pytest.raises(InputError, match=expected):
        load_lpips(tmp_path / "lpips.pth")


def test_code_is_not_run(tmp_path: Path):
    path = tmp_path / "lpips.pth"
    torch.save({"features.0.weight": print}, path)
    with pytest.raises(UnsafeCheckpoint, match="holds pickled code"):
        load_lpips(path)
