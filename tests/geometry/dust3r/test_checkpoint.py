"""What a file may be, what it must hold, and that none of it runs."""

import argparse
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from reconx.errors import InputError, UnsafeCheckpoint, WeightsNotFound
from reconx.geometry.dust3r.checkpoint import LICENCE, load_checkpoint
from reconx.geometry.dust3r.config import DptConfig, NetworkConfig

TINY = NetworkConfig(
    patch=16,
    encoder_width=64,
    encoder_depth=1,
    decoder_width=64,
    decoder_depth=2,
    mlp_ratio=2,
    dpt=DptConfig(levels=(4, 6, 8, 10), features=12, last=5),
)
Weights = Callable[[NetworkConfig], dict[str, Tensor]]


class Trap:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def weights(small_weights: Weights) -> dict[str, Tensor]:
    return small_weights(TINY)


def test_safetensors(weights: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(weights, tmp_path / "dust3r.safetensors")
    network, facts = load_checkpoint(tmp_path / "dust3r.safetensors")
    assert facts.config == TINY
    assert (facts.name, facts.licence, facts.long_side) == ("dust3r.safetensors", LICENCE, 512)
    loaded = network.state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def official_file(weights: dict[str, Tensor], path: Path, **more: object) -> Path:
    """As `torch.save` wrote the official ones: with arguments, doubled and unread tensors."""
    doubled = {
        re.sub(r"layer(\d)_rn", lambda n: f"layer_rn.{int(n[1]) - 1}", name): tensor
        for name, tensor in weights.items()
        if re.search(r"layer\d_rn", name)
    }
    unread = {"mask_token": torch.zeros(1, 1, 64)}
    for head in (1, 2):
        join = f"downstream_head{head}.dpt.scratch.refinenet4.resConfUnit1"
        unread |= {f"{join}.conv{n}.weight": torch.zeros(12, 12, 3, 3) for n in (1, 2)}
    arguments = argparse.Namespace(model="AsymmetricCroCo3DStereo(img_size=(224, 224))", epochs=3)
    torch.save({"args": arguments, "model": weights | doubled | unread, "epoch": 3, **more}, path)
    return path


def test_official_pth(weights: dict[str, Tensor], tmp_path: Path) -> None:
    network, facts = load_checkpoint(official_file(weights, tmp_path / "checkpoint.pth"))
    assert facts.config == TINY
    assert facts.long_side == 224  # what its arguments say
    assert torch.equal(network.enc_norm.weight, weights["enc_norm.weight"])


def test_doubled_layers_under_their_other_name(weights: dict[str, Tensor], tmp_path: Path) -> None:
    layer = "downstream_head2.dpt.scratch.layer3_rn.weight"
    other = weights | {"downstream_head2.dpt.scratch.layer_rn.2.weight": weights[layer]}
    del other[layer]
    save_file(other, tmp_path / "a.safetensors")
    network, _ = load_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(network.state_dict()[layer], weights[layer])


@pytest.mark.parametrize("save", [save_file, torch.save])
@pytest.mark.parametrize("name", ["512_linear.bin", "224.pth", "224.safetensors"])
def test_renamed_files(
    linear_config: NetworkConfig,
    small_weights: Weights,
    tmp_path: Path,
    name: str,
    save: Callable[[dict[str, Tensor], Path], None],
) -> None:
    save(small_weights(linear_config), tmp_path / name)
    _, facts = load_checkpoint(tmp_path / name)
    assert facts.config == linear_config
    assert facts.long_side == int(name[:3])


def test_old_format_of_torch_save(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"model": weights}, path, _use_new_zipfile_serialization=False)
    assert load_checkpoint(path)[1].config == TINY


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near(
    weights: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    save_file({name: part.half() for name, part in weights.items()}, tmp_path / "a.safetensors")
    images = torch.rand(2, 32, 48, 3, generator=torch.Generator().manual_seed(0))
    answers = []
    for precision in (torch.float32, dtype):
        network, _ = load_checkpoint(tmp_path / "a.safetensors", dtype=precision)
        assert network.enc_norm.weight.dtype == precision
        assert {part.dtype for part in network.downstream_head1.parameters()} == {torch.float32}
        tokens = network.encode(images)
        answers.append(network.decode(tokens[:1], tokens[1:], 2, 3))
    for exact, near in zip(*answers, strict=True):
        for expected, found in zip(exact, near, strict=True):
            assert found.dtype == torch.float32
            assert (found - expected).norm() < 0.05 * expected.norm()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"no DUSt3R checkpoint '.*a.pth'.*huggingface"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_does_not_run(
    weights: dict[str, Tensor], tmp_path: Path, zipped: bool
) -> None:
    trap = tmp_path / "sprung"
    path = tmp_path / "trap.pth"
    content = {"model": weights, "trap": Trap(trap)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        UnsafeCheckpoint, match=r"'trap.pth' holds pickled code \(.*mkdir.*safetensors"
    ):
        load_checkpoint(path)
    assert not trap.exists()


@pytest.mark.parametrize("kept", [0, 5, 100, -100])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_truncated(weights: dict[str, Tensor], tmp_path: Path, name: str, kept: int) -> None:
    path = tmp_path / name
    if name.endswith("pth"):
        official_file(weights, path)
    else:
        save_file(weights, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"'{name}' cannot be read: it is cut short"):
        load_checkpoint(path)


def test_something_else_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "page.pth"
    path.write_text("<!doctype html>\n", encoding="ascii")
    with pytest.raises(InputError, match="'page.pth' cannot be read"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no checkpoint")
    with pytest.raises(InputError, match="'page.pth' cannot be read"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match=r"is no DUSt3R: it lacks 'patch_embed.proj.weight'"):
        load_checkpoint(path)
    torch.save({"model": 3}, path)
    with pytest.raises(InputError, match=r"is no DUSt3R: its 'model' is a int"):
        load_checkpoint(path)


def faulty(weights: dict[str, Tensor], path: Path, change: dict[str, Tensor | None]) -> Path:
    changed = {name: part for name, part in (weights | change).items() if part is not None}
    save_file(changed, path)
    return path


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"decoder_embed.weight": None}, "it lacks 'decoder_embed.weight'"),
        ({"decoder_embed.weight": torch.zeros(3)}, "other ranks"),
        ({"decoder_embed.bias": None}, "it lacks 'decoder_embed.bias'"),
        ({"lora.up": torch.zeros(3)}, "has no place for its 'lora.up'"),
        ({"dec_norm.bias": torch.zeros(3)}, r"'dec_norm.bias' has shape \(3,\), expected \(64,\)"),
        ({"decoder_embed.weight": torch.zeros(65, 64)}, "64 and 65 channels, no multiples of 64"),
    ],
)
def test_wrong_architecture(
    weights: dict[str, Tensor], tmp_path: Path, change: dict[str, Tensor | None], text: str
) -> None:
    path = faulty(weights, tmp_path / "other.safetensors", change)
    with pytest.raises(InputError, match=rf"'other.safetensors' is no DUSt3R: .*{text}.*512_dpt"):
        load_checkpoint(path)
