"""SPZ and .splat: bytes worked out by hand, round trips within each format's steps, bad files."""

import gzip
import math
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reconx.errors import InputError
from reconx.export.splat_files import SPLAT_FORMATS, parse_formats, read_splats, write_splats
from reconx.export.splat_values import CHUNK
from reconx.ops.quaternion import quaternion_multiply
from reconx.types import Gaussians


def make_gaussians(coefficients: int, count: int = 500) -> Gaussians:
    generator = torch.Generator().manual_seed(coefficients)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    quats = torch.randn(count, 4, generator=generator)
    return Gaussians(
        means=8 * random(count, 3) - 4,
        quats=functional.normalize(quats, dim=-1),
        scales=torch.exp(6 * random(count, 3) - 5),
        opacities=torch.linspace(0, 1, count),
        sh=1.6 * random(count, coefficients, 3) - 0.8,
    )


def turn_degrees(first: Tensor, second: Tensor) -> float:
    """The largest angle between rotations."""
    inverse = second * torch.tensor([1.0, -1, -1, -1])
    between = quaternion_multiply(first.double(), inverse.double())
    sine = torch.linalg.vector_norm(between[:, 1:], dim=-1)
    return 2 * math.degrees(float(torch.atan2(sine, between[:, 0].abs()).max()))


def one(**changed: Tensor) -> Gaussians:
    plain = Gaussians(
        means=torch.tensor([[1.0, -1, 0.5]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.tensor([[1.0, math.exp(-1), math.exp(0.5)]]),
        opacities=torch.tensor([0.6]),
        sh=torch.zeros(1, 1, 3),
    )
    return replace(plain, **changed)


def test_an_spz_file_byte_by_byte(tmp_path: Path) -> None:
    half = math.sqrt(0.5)
    sh = torch.zeros(1, 4, 3)
    sh[0, 0] = torch.tensor([0.0, 2.0, -9.0])
    sh[0, 1, 0], sh[0, 3, 2] = 0.5, -0.25
    # The rotation has -z largest, so all signs turn: x y w become 0, 1/2 of the rest, -.
    quat = torch.tensor([[0.5, 0.0, -0.5, -half]])
    write_splats(tmp_path / "one", one(quats=quat, sh=sh), ("spz",))
    data = gzip.decompress((tmp_path / "one.spz").read_bytes())
    # 22 binary places: at 23, the largest position of 1 would need one more digit.
    header, rest = data[:16], data[16:]
    assert header == b"NGSP" + struct.pack("<IIBBBB", 3, 1, 1, 22, 0, 0)
    positions, rest = rest[:9], rest[9:]
    assert positions == b"\x00\x00\x40" + b"\x00\x00\xc0" + b"\x00\x00\x20"
    assert rest[0] == 153  # opacity
    assert list(rest[1:4]) == [128, 204, 0]  # 255 * (0.15 c + 0.5), clipped
    assert list(rest[4:7]) == [160, 144, 168]  # 16 * (log s + 10)
    # Index 2 (z); then x: -0, y: +0.5, w: -0.5, in 511 steps up to sqrt(1/2), a sign before each.
    steps = round(0.5 / half * 511)
    word = 2 << 30 | 0 << 20 | (0 << 9 | steps) << 10 | (1 << 9 | steps)
    assert struct.unpack("<I", rest[7:11])[0] == word
    # Coefficient by coefficient, colour fastest; 128 is 0, a step of degree 1 is 8.
    assert list(rest[11:]) == [192, 128, 128, 128, 128, 128, 128, 128, 96]


def test_a_splat_file_byte_by_byte(tmp_path: Path) -> None:
    sh = torch.tensor([[[0.0, 5.0, -1.0]]])
    write_splats(tmp_path / "one", one(sh=sh, quats=torch.tensor([[0.0, -1, 0, 0]])), ("splat",))
    data = (tmp_path / "one.splat").read_bytes()
    assert data[:24] == struct.pack("<6f", 1, -1, 0.5, 1, math.exp(-1), math.exp(0.5))
    # 0.5 + 0.2821 c as a byte, clipped; then opacity; then wxyz about 128.
    assert list(data[24:]) == [128, 255, 56, 153, 128, 0, 128, 128]


@pytest.mark.parametrize("coefficients", [1, 4, 9, 16])
def test_spz_round_trip(tmp_path: Path, coefficients: int) -> None:
    gaussians = make_gaussians(coefficients)
    write_splats(tmp_path / "new" / "scene", gaussians, ("spz",))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["scene.spz"]
    back = read_splats(tmp_path / "new" / "scene.spz")
    # Within 4 units, 21 binary places are left.
    torch.testing.assert_close(back.means, gaussians.means, atol=2**-22 + 1e-9, rtol=0)
    torch.testing.assert_close(back.scales.log(), gaussians.scales.log(), atol=0.5 / 16, rtol=1e-5)
    torch.testing.assert_close(back.opacities, gaussians.opacities, atol=0.5 / 255 + 1e-6, rtol=0)
    assert turn_degrees(back.quats, gaussians.quats) < 0.25
    base = 0.5 / 255 / 0.15 + 1e-6
    torch.testing.assert_close(back.sh[:, 0], gaussians.sh[:, 0], atol=base, rtol=0)
    for higher, step in ((slice(1, 4), 8), (slice(4, 16), 16)):
        error = (step + 1) / 2 / 128
        torch.testing.assert_close(back.sh[:, higher], gaussians.sh[:, higher], atol=error, rtol=0)
    again = tmp_path / "again"
    write_splats(again, gaussians, ("spz",))
    assert again.with_suffix(".spz").read_bytes() == (tmp_path / "new/scene.spz").read_bytes()


def test_splat_round_trip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gaussians = make_gaussians(4)
    write_splats(tmp_path / "scene", gaussians, ("splat",))
    assert "scene.splat keeps base colours only: the harmonics of degree 1 to 1" in caplog.text
    back = read_splats(tmp_path / "scene.splat")
    assert torch.equal(back.means, gaussians.means)
    assert torch.equal(back.scales, gaussians.scales)
    torch.testing.assert_close(back.opacities, gaussians.opacities, atol=0.5 / 255 + 1e-6, rtol=0)
    assert turn_degrees(back.quats, gaussians.quats) < 1.2
    assert back.sh_degree == 0
    base = 0.5 / 255 / 0.2821 + 1e-6
    torch.testing.assert_close(back.sh[:, 0], gaussians.sh[:, 0], atol=base, rtol=0)


def test_every_rotation_comes_back(tmp_path: Path) -> None:
    """Each component largest, with either sign; ties; and nearly nothing beside the largest."""
    axes = torch.eye(4)
    tilted = functional.normalize(axes + 1e-3 * torch.ones(4), dim=-1)
    corners = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 4)
    quats = torch.cat([axes, -axes, tilted, -tilted, corners])
    gaussians = replace(make_gaussians(1, len(quats)), quats=quats)
    for name, most in (("spz", 0.25), ("splat", 1.2)):
        write_splats(tmp_path / "turned", gaussians, (name,))
        assert turn_degrees(read_splats(tmp_path / f"turned.{name}").quats, quats) < most


@pytest.mark.parametrize(
    ("farthest", "places"), [(0.0, 23), (0.4, 23), (1.0, 22), (2047.0, 12), (8_388_607.0, 0)]
)
def test_spz_positions_are_as_fine_as_their_extent_allows(
    tmp_path: Path, farthest: float, places: int
) -> None:
    for sign in (1, -1):
        means = torch.tensor([[sign * farthest, 0, 0.3 if places else 0.0]])
        write_splats(tmp_path / "far", one(means=means), ("spz",))
        assert gzip.decompress((tmp_path / "far.spz").read_bytes())[13] == places
        back = read_splats(tmp_path / "far.spz").means
        torch.testing.assert_close(back, means, atol=0.5 / 2**places, rtol=0)
    with pytest.raises(InputError, match="8.38861e\\+06 units .* SPZ holds up to 8388607"):
        write_splats(tmp_path / "far", one(means=torch.full((1, 3), 8_388_608.0)), ("spz",))


@pytest.mark.parametrize("name", list(SPLAT_FORMATS))
def test_large_splats_take_little_memory(tmp_path: Path, name: str) -> None:
    """Order and values hold across chunks, and the writer holds a chunk, not the splat."""
    gaussians = make_gaussians(1, 2 * CHUNK + 3)
    small = make_gaussians(1, 10)
    write_splats(tmp_path / "warm", small, (name,))
    tracemalloc.start()
    write_splats(tmp_path / "large", gaussians, (name,))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Bytes of Python and numpy; torch's own are not traced.
    assert most < 2.5 * CHUNK * 4 * 17
    back = read_splats(tmp_path / f"large.{name}")
    assert len(back) == len(gaussians)
    torch.testing.assert_close(back.means, gaussians.means, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(back.opacities, gaussians.opacities, atol=0.002, rtol=0)


@pytest.mark.parametrize("name", list(SPLAT_FORMATS))
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    write_splats(tmp_path / "scene", one(), (name,))
    before = (tmp_path / f"scene.{name}").read_bytes()
    for bad, text in (
        (one(scales=torch.tensor([[1.0, torch.inf, 1.0]])), "scales holds 1 of 3 values that are"),
        (make_gaussians(1, 0), "There is no Gaussian to write"),
    ):
        with pytest.raises(InputError, match=text):
            write_splats(tmp_path / "scene", bad, (name,))
    assert [path.name for path in tmp_path.iterdir()] == [f"scene.{name}"]
    assert (tmp_path / f"scene.{name}").read_bytes() == before


def edit_spz(edit: Callable[[bytearray], None]) -> Callable[[bytes], bytes]:
    def edited(data: bytes) -> bytes:
        raw = bytearray(gzip.decompress(data))
        edit(raw)
        return gzip.compress(raw)

    return edited


def put(place: int, *values: int) -> Callable[[bytearray], None]:
    def edit(raw: bytearray) -> None:
        raw[place : place + len(values)] = bytes(values)

    return edit


@pytest.mark.parametrize(
    ("name", "damage", "text"),
    [
        ("spz", lambda data: b"", "is a gzip file, but no SPZ file|cannot be read"),
        ("spz", lambda data: b"hello", "cannot be read .Not a gzipped file"),
        ("spz", lambda data: data[:-12], "cannot be read .Compressed file ended"),
        ("spz", lambda data: data[:-8] + b"\0\0\0\0" + data[-4:], "cannot be read .CRC"),
        ("spz", edit_spz(put(0, 0)), "but no SPZ file"),
        ("spz", edit_spz(put(4, 4)), "has version 4 and SH degree 1; expected version 2 or 3"),
        ("spz", edit_spz(put(12, 4)), "has version 3 and SH degree 4"),
        ("spz", edit_spz(put(8, 0, 0, 0, 0)), "claims 0 Gaussians"),
        ("spz", edit_spz(put(8, 255, 255, 255, 255)), "claims 4294967295 Gaussians"),
        ("spz", edit_spz(lambda raw: raw.__delitem__(slice(-7, None))), "ends 7 bytes early"),
        ("splat", lambda data: b"", "has 0 bytes; expected 32 for each"),
        ("splat", lambda data: data[:-5], "has 27 bytes"),
        ("splat", lambda data: b"\xff" * 32, "positions, holds 3 of 3 values"),
        ("splat", lambda data: data[:12] + b"\0\0\x80\xbf" + data[16:], "scales down to -1;"),
    ],
)
def test_damaged_files(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], text: str
) -> None:
    path = tmp_path / f"scene.{name}"
    with pytest.raises(InputError, match=f"scene.{name}' does not exist"):
        read_splats(path)
    write_splats(tmp_path / "scene", one(sh=torch.zeros(1, 4, 3)), (name,))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=text):
        read_splats(path)


def test_names_of_formats() -> None:
    assert parse_formats("spz, ply,spz") == ("spz", "ply")
    with pytest.raises(InputError, match="'' is unknown. Choose one of: ply, spz, splat"):
        parse_formats("")
    with pytest.raises(InputError, match="'ksplat' is unknown. Choose one of: ply, spz, splat"):
        read_splats(Path("scene.ksplat"))
