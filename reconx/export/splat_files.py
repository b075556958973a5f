"""The formats of splat files by name: which there are, what each keeps, and who writes it."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..checks import check_choice
from ..types import Gaussians
from .antimatter import read_splat, write_splat
from .ply import read_gaussians_ply, write_gaussians_ply
from .spz import read_spz, write_spz

logger = logging.getLogger("reconx")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplatFormat:
    """One format; its name is the files' suffix."""

    write: Callable[[Path, Gaussians], None]
    read: Callable[[Path], Gaussians]
    keeps_harmonics: bool
    """Whether colours that change with the direction survive."""


SPLAT_FORMATS: Mapping[str, SplatFormat] = {
    "ply": SplatFormat(write=write_gaussians_ply, read=read_gaussians_ply, keeps_harmonics=True),
    "spz": SplatFormat(write=write_spz, read=read_spz, keeps_harmonics=True),
    "splat": SplatFormat(write=write_splat, read=read_splat, keeps_harmonics=False),
}
"""The exact one first; a folder that holds several is read from the first."""


def parse_formats(text: str) -> tuple[str, ...]:
    """Names of formats from a list with commas, each once.

    Raises:
        InputError: If one is unknown.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        check_choice("Splat format", name, tuple(SPLAT_FORMATS))
    return names


def write_splats(stem: Path, gaussians: Gaussians, formats: tuple[str, ...]) -> None:
    """Write Gaussians, in world space, once per format: the stem gets the format as its suffix.

    Raises:
        InputError: If there is no Gaussian, or a format cannot hold a value.
    """
    for name in formats:
        path = stem.with_name(f"{stem.name}.{name}")
        SPLAT_FORMATS[name].write(path, gaussians)
        if gaussians.sh_degree and not SPLAT_FORMATS[name].keeps_harmonics:
            logger.warning(
                "%s keeps base colours only: the harmonics of degree 1 to %d are not in it.",
                path.name,
                gaussians.sh_degree,
            )


def find_splats(stem: Path) -> Path | None:
    """The file of a stem in the first format that there is one of."""
    paths = (stem.with_name(f"{stem.name}.{name}") for name in SPLAT_FORMATS)
    return next((path for path in paths if path.is_file()), None)


def read_splats(path: Path) -> Gaussians:
    """Read Gaussians in the format that the suffix names.

    Raises:
        InputError: If the suffix is unknown, or the file cannot be used.
    """
    name = path.suffix.lower().removeprefix(".")
    check_choice("Splat format", name, tuple(SPLAT_FORMATS))
    return SPLAT_FORMATS[name].read(path)
