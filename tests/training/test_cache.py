"""The cache of encoded clips: resumable, shared by processes, and its damage is named."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_trainable import ToyTrainable, toy_options

from reconx.errors import AlignmentFailed, InputError
from reconx.progress import SilentProgress
from reconx.training.base import EncodedClip, TrainingClip
from reconx.training.cache import ClipCache, Worker
from reconx.training.cutting import ClipCutter
from reconx.training.options import DataOptions, TrainOptions
from reconx.training.shards import shard_path

CPU, OPTIONS = torch.device("cpu"), toy_options()


def filled(folder: Path, options: TrainOptions = OPTIONS, *workers: Worker) -> ClipCache:
    cache = ClipCache(folder, options, ToyTrainable())
    for worker in workers or (Worker(),):
        cache.fill(CPU, worker, SilentProgress())
    cache.open()
    return cache


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    filled(folder)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """One that a test may spoil."""
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_what_is_read_is_what_was_encoded(whole: Path) -> None:
    cache = filled(whole)
    assert len(cache) == 5
    batch = cache.read([3, 0])
    cutter = ClipCutter(
        OPTIONS.data, OPTIONS.clip, OPTIONS.cloud, ToyTrainable.spec, seed=0, device="cpu"
    )
    encoded = ToyTrainable().encode_clip(cutter.cut(3), CPU)
    assert torch.equal(batch.latents[0], encoded.latents)
    assert torch.equal(batch.conditions["beside"][0], encoded.conditions["beside"])
    assert batch.conditions["scale"].shape == (2, 1)  # shared, kept once
    assert len(batch.points[0].queries) == OPTIONS.encoder.queries
    assert len(list(whole.glob("clips-*.safetensors"))) == 3


def test_processes_fill_one_folder(whole: Path, tmp_path: Path) -> None:
    filled(tmp_path, OPTIONS, Worker(rank=1, count=2), Worker(rank=0, count=2))
    for path in whole.glob("*.safetensors"):
        one, other = load_file(path), load_file(tmp_path / path.name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_filling_goes_on_where_it_stopped(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in (".safetensors", ".json"):
        shard_path(copy, 1).with_suffix(suffix).unlink()
    shard_path(copy, 2).with_suffix(".json").unlink()  # killed before this was written
    cut: list[int] = []
    plain = ClipCutter.cut
    monkeypatch.setattr(ClipCutter, "cut", lambda self, n: cut.append(n) or plain(self, n))
    filled(copy)
    assert cut == [2, 3, 4]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"0")


def swap(path: Path) -> None:
    """Another shard's bytes under this one's name, with facts that fit them."""
    other = shard_path(path.parent, 0)
    path.write_bytes(other.read_bytes())
    facts = other.with_suffix(".json").read_text("utf-8").replace('"number": 0', '"number": 1')
    path.with_suffix(".json").write_text(facts, "utf-8")


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:8] = b"\xff" * 8
    path.write_bytes(bytes(data))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def spoil_facts(path: Path) -> None:
    path.with_suffix(".json").write_text("{", "utf-8")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (empty, "is empty: 0 of"),
        (cut_short, "is cut short"),
        (lengthen, "is too long"),
        (Path.unlink, "is missing"),
        (spoil, "cannot be read"),
        (swap, "belongs to another cache: its shard is '0', expected '1'"),
        (flip, "its checksum is another"),
        (spoil_facts, r"clips-00001\.json' is damaged"),
    ],
)
def test_a_broken_shard_is_named(copy: Path, damage: Callable[[Path], None], text: str) -> None:
    damage(shard_path(copy, 1))
    cache = ClipCache(copy, OPTIONS, ToyTrainable())
    with pytest.raises(InputError, match=rf"clips-00001.*{text}|{text}.*clips-00001") as error:
        cache.open(thorough=damage is flip)
    assert "is made again" in str(error.value)


def test_a_missing_shard_and_common_file_are_told(copy: Path) -> None:
    (copy / "common.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"common\.safetensors' cannot be read"):
        ClipCache(copy, OPTIONS, ToyTrainable()).open()
    shard_path(copy, 2).with_suffix(".json").unlink()
    with pytest.raises(InputError, match="Shard 2 of .* was not finished"):
        ClipCache(copy, OPTIONS, ToyTrainable()).open()


def test_another_recipe_needs_another_cache(copy: Path) -> None:
    ClipCache(copy, replace(OPTIONS, rank=3), ToyTrainable())  # the clips are the same
    data = (DataOptions(kind="procedural", scenes=5, clips=5, first=1),)
    with pytest.raises(InputError, match="clips of another recipe: its 'data' is .*'first': 0"):
        ClipCache(copy, replace(OPTIONS, data=data), ToyTrainable())


def test_clips_without_a_cloud_are_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = ClipCutter.cut

    def fails(self: ClipCutter, number: int) -> object:
        if number < 3:
            raise AlignmentFailed(f"Clip {number} has no texture.")
        return plain(self, number)

    monkeypatch.setattr(ClipCutter, "cut", fails)
    with caplog.at_level(logging.WARNING, "reconx"):
        cache = filled(tmp_path)
    assert len(cache) == 2
    assert "Clip 1 is left out. Clip 1 has no texture." in caplog.text
    assert cache.read([0]).latents.shape == (1, 3, 4, 16, 16)


def test_a_clip_that_is_not_finite_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = ToyTrainable.encode_clip

    def overflows(self: ToyTrainable, clip: TrainingClip, device: torch.device) -> EncodedClip:
        encoded = plain(self, clip, device)
        if "scene '2'" in clip.name:
            encoded.latents[0, 1, 2, 3] = torch.inf
        return encoded

    monkeypatch.setattr(ToyTrainable, "encode_clip", overflows)
    with caplog.at_level(logging.WARNING, "reconx"):
        cache = filled(tmp_path)
    assert len(cache) == 4
    assert "the 'latents' are not finite everywhere" in caplog.text


def test_a_cache_without_any_clip_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = replace(OPTIONS, encoder=replace(OPTIONS.encoder, points=100_000, queries=90_000))
    with pytest.raises(InputError, match="None of the 5 clips.*points were measured; expected one"):
        filled(tmp_path, many)
