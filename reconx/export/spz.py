"""Gaussians as SPZ version 3, and back: a quarter to a sixth of a PLY file.

The format is Niantic's (github.com/nianticlabs/spz, README and load-spz.cc): a header and one array
per property, in one gzip stream. Version 4, in another container, is not read by the viewers of the
day. Numbers are rounded to 8 bits, positions to 24, and the three smaller components of a rotation
to 9 and a sign.

Axes are those of the PLY file (an OpenCV world), as ComfyUI and its viewer take them. Niantic's own
tools expect Y up and Z back unless they are told otherwise, and show such a file turned over.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..types import Gaussians
from .atomic import replacing
from .splat_values import CHUNK, check_writable

_HEADER = struct.Struct("<4sIIBBBB")
"""Magic, version, count, SH degree, fractional bits, flags, reserved."""
_MAGIC, _VERSION = b"NGSP", 3
_MOST_FRACTIONAL_BITS = 23
_COLOUR_RANGE = 0.15
"""A byte spans base coefficients from -0.5 to 0.5 over this: a bit more than black to white."""
_ROTATION_STEPS = 511 * math.sqrt(2)
"""Per unit of a component that is not the largest, hence at most sqrt(1/2)."""
_SH_STEPS = torch.tensor([8.0] * 9 + [16.0] * 36)
"""Of 256, by coefficient and colour: Niantic's 5 bits, then 4, for gzip to make the file small."""
_MOST_COMPRESSION = 1032
"""No deflate stream holds more bytes than this for each of its own."""

Rows = UInt8[Tensor, "n byte"]


@dataclass(frozen=True, slots=True)
class _Property:
    """One array of the file."""

    size: int
    """Bytes for each Gaussian."""
    encode: Callable[[Gaussians], Rows]
    decode: Callable[[Rows], Tensor]


def write_spz(path: str | Path, gaussians: Gaussians) -> None:
    """Write Gaussians, in world space, in bounded memory.

    Positions get as many binary places as the farthest one leaves, up to 23. What lies beyond the
    format's range is clipped: harmonics to [-1, 1], base colours to about [-0.44, 1.44], scales to
    e^-10 to e^5.9.

    Raises:
        InputError: If there is no Gaussian, a value is not finite, or a position is too far away.
    """
    check_writable(gaussians)
    low, high = gaussians.means.aminmax()
    bits = _fractional_bits(max(-float(low), float(high)))
    header = _HEADER.pack(_MAGIC, _VERSION, len(gaussians), gaussians.sh_degree, bits, 0, 0)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        # Without name and time: the same Gaussians give the same bytes.
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as stream,
    ):
        stream.write(header)
        for property in _properties(gaussians.sh_degree, bits):
            for part in gaussians.split(CHUNK):
                stream.write(property.encode(part).numpy().tobytes())


def read_spz(path: str | Path) -> Gaussians:
    """Read Gaussians of SH degree 0 to 3 from an SPZ file of version 3, or 2 as ComfyUI writes it.

    Raises:
        InputError: If the file is missing, damaged, of another version or no SPZ file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"SPZ '{path}' does not exist. Check the path.")
    try:
        with gzip.open(path, "rb") as stream:
            return _read(path, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"SPZ '{path}' cannot be read ({error}). Expected a whole file of version 2 or 3."
        ) from error


def _read(path: Path, stream: gzip.GzipFile) -> Gaussians:
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size or header[:4] != _MAGIC:
        raise InputError(f"'{path}' is a gzip file, but no SPZ file; expected one.")
    _, version, count, degree, bits, _, _ = _HEADER.unpack(header)
    if version not in (2, _VERSION) or degree > 3:
        raise InputError(
            f"SPZ '{path}' has version {version} and SH degree {degree}; expected version 2 or "
            f"{_VERSION} and degree 0 to 3. Save it as PLY with the program that made it."
        )
    properties = list(_properties(degree, bits))
    if version == 2:
        properties[4] = replace(properties[4], size=3, decode=_unpack_first_three)
    # Before memory is taken for what a damaged header promises.
    total, held = count * sum(property.size for property in properties), path.stat().st_size
    if not 0 < total <= _MOST_COMPRESSION * held:
        raise InputError(
            f"SPZ '{path}' claims {count} Gaussians in {held} bytes; expected at least one and no "
            "more than fit. It is damaged: save it again."
        )
    gaussians = Gaussians(
        means=torch.empty(count, 3),
        quats=torch.empty(count, 4),
        scales=torch.empty(count, 3),
        opacities=torch.empty(count),
        sh=torch.empty(count, (degree + 1) ** 2, 3),
    )
    for target, property in zip(_targets(gaussians), properties, strict=True):
        for part in target.split(CHUNK):
            part.copy_(property.decode(_read_rows(stream, len(part), property.size)))
    stream.read(1)  # behind the last byte, where gzip compares its checksum
    return gaussians


def _properties(degree: int, bits: int) -> tuple[_Property, ...]:
    """The arrays of a file in their order."""
    return (
        _Property(9, lambda g: _fixed_point(g.means, bits), lambda b: _from_fixed_point(b, bits)),
        _Property(1, lambda g: _bytes(255 * g.opacities[:, None]), lambda b: b[:, 0] / 255),
        _Property(
            3,
            lambda g: _bytes(255 * (_COLOUR_RANGE * g.sh[:, 0] + 0.5)),
            lambda b: (b / 255 - 0.5) / _COLOUR_RANGE,
        ),
        _Property(
            3,
            lambda g: _bytes(16 * (g.scales.clamp_min(1e-9).log() + 10)),
            lambda b: (b / 16 - 10).exp(),
        ),
        _Property(4, lambda g: _pack_rotations(g.quats), _unpack_rotations),
        _Property(3 * ((degree + 1) ** 2 - 1), lambda g: _harmonics(g.sh[:, 1:]), _from_harmonics),
    )


def _targets(gaussians: Gaussians) -> tuple[Tensor, ...]:
    """What each array of the file holds."""
    sh = gaussians.sh
    scales, quats = gaussians.scales, gaussians.quats
    return gaussians.means, gaussians.opacities, sh[:, 0], scales, quats, sh[:, 1:]


def _read_rows(stream: gzip.GzipFile, count: int, size: int) -> Rows:
    data = bytearray(stream.read(count * size))
    if len(data) < count * size:
        raise EOFError(f"it ends {count * size - len(data)} bytes early")
    return torch.tensor(data, dtype=torch.uint8).view(count, size)


def _fractional_bits(farthest: float) -> int:
    """Binary places for positions, which have 23 digits and a sign."""
    for bits in range(_MOST_FRACTIONAL_BITS, -1, -1):
        if round(farthest * 2**bits) < 1 << 23:
            return bits
    raise InputError(
        f"A Gaussian lies {farthest:g} units from the origin; SPZ holds up to {(1 << 23) - 1}. "
        "Scale or move the scene, or write PLY."
    )


def _bytes(values: Float[Tensor, "n value"]) -> Rows:
    return values.round().clamp(0, 255).byte()


def _little_endian(words: Int[Tensor, "*n"], size: int) -> UInt8[Tensor, "*n {size}"]:
    return torch.stack([words >> 8 * place & 255 for place in range(size)], dim=-1).byte()


def _from_little_endian(data: UInt8[Tensor, "*n size"]) -> Int[Tensor, "*n"]:
    places = 8 * torch.arange(data.shape[-1])
    return (data.long() << places).sum(-1)


def _fixed_point(positions: Float[Tensor, "n 3"], bits: int) -> Rows:
    return _little_endian((positions * 2.0**bits).round().long(), 3).flatten(1)


def _from_fixed_point(rows: Rows, bits: int) -> Float[Tensor, "n 3"]:
    words = _from_little_endian(rows.unflatten(1, (3, 3)))
    signed = torch.where(words < 1 << 23, words, words - (1 << 24))
    return signed.float() / 2.0**bits


def _pack_rotations(quats: Float[Tensor, "n 4"]) -> Rows:
    """From the top of 32 bits: which of x, y, z, w is largest, then sign and size of the others."""
    xyzw = functional.normalize(quats, dim=-1).roll(-1, dims=1)
    largest = xyzw.abs().argmax(1, keepdim=True)
    # A quaternion and its negative are one rotation, so the largest needs no sign.
    xyzw = torch.where(xyzw.gather(1, largest) < 0, -xyzw, xyzw)
    smaller = xyzw[_all_but(largest)].view(-1, 3)
    sizes = (smaller.abs() * _ROTATION_STEPS).round().long().clamp(max=511)
    words = largest[:, 0]
    for size, negative in zip(sizes.unbind(1), (smaller < 0).long().unbind(1), strict=True):
        words = words << 10 | negative << 9 | size
    return _little_endian(words, 4)


def _unpack_rotations(rows: Rows) -> Float[Tensor, "n 4"]:
    words = _from_little_endian(rows)
    fields = torch.stack([words >> shift & 1023 for shift in (20, 10, 0)], dim=1)
    smaller = torch.where(fields < 512, fields, 512 - fields).float() / _ROTATION_STEPS
    others = _all_but(words[:, None] >> 30)
    xyzw = torch.empty(len(rows), 4)
    xyzw[others] = smaller.flatten()
    xyzw[~others] = (1 - smaller.square().sum(1)).clamp_min(0).sqrt()
    return functional.normalize(xyzw, dim=-1).roll(1, dims=1)


def _unpack_first_three(rows: Rows) -> Float[Tensor, "n 4"]:
    """Rotations of version 2: x, y and z, of that quaternion whose w is not negative."""
    xyz = rows / 127.5 - 1
    w = (1 - xyz.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    return functional.normalize(torch.cat([w, xyz], dim=1), dim=-1)


def _all_but(largest: Int[Tensor, "n 1"]) -> Tensor:
    return torch.arange(4) != largest


def _harmonics(sh: Float[Tensor, "n coeff 3"]) -> Rows:
    words = (sh * 128).round().flatten(1) + 128
    steps = _SH_STEPS[: words.shape[1]]
    return _bytes((words / steps + 0.5).floor() * steps)


def _from_harmonics(rows: Rows) -> Float[Tensor, "n coeff 3"]:
    return ((rows.float() - 128) / 128).unflatten(1, (rows.shape[1] // 3, 3))
