"""What this installation can do, as text for people: versions, parts, and what to install.

Looks at everything and changes nothing. Nothing here fails: what is broken is what it reports.
"""

import importlib
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement

from . import __version__
from .geometry.estimators.registry import ESTIMATORS
from .parts import PartSpec, install_command
from .render.rasterizers.registry import RASTERIZERS, choose_rasterizer
from .video.registry import BACKBONES

EXTRAS = ("av",)
"""What only some results need: av writes videos."""
_MODULES = {"pillow": "PIL"}
"""Packages that are imported by quite another name than they are installed by."""


def describe_system(device: str = "cpu") -> str:
    """Versions, devices, packages and swappable parts, with the command for what is missing.

    Args:
        device: The torch device that work would be done on.
    """
    lines = [
        f"ReconX {__version__}",
        f"Python {platform.python_version()} at {sys.executable}",
        platform.platform(),
        f"torch {torch.__version__}, devices: {', '.join(_devices())}",
        *("", "Packages", *map(_describe_package, _requirements())),
        *("", "Optional packages", *(_describe_package(Requirement(text)) for text in EXTRAS)),
        *("", f"Rasterizers: on {device}, '{choose_rasterizer('auto', device)}' is chosen"),
        *_describe_parts(RASTERIZERS),
        *("", "Geometry estimators", *_describe_parts(ESTIMATORS)),
        *("", "Video backbones", *_describe_parts(BACKBONES)),
    ]
    return "\n".join(lines) + "\n"


def _devices() -> Iterable[str]:
    yield "cpu"
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield f"cuda:{index} ({torch.cuda.get_device_name(index)}, {memory:.0f} GB)"
    if torch.backends.mps.is_available():
        yield "mps"


def _requirements() -> list[Requirement]:
    """What the pack requires: by its own list, or by its metadata where it is a package."""
    listed = Path(__file__).resolve().parents[1] / "requirements.txt"
    if listed.is_file():
        lines = listed.read_text(encoding="utf-8").splitlines()
    else:
        lines = metadata.requires("reconx") or []
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def _describe_package(wanted: Requirement) -> str:
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"- {wanted.name}: missing. Run: {install_command(f'pip install {wanted.name}')}"
    remedy = f"Run: {install_command(f'pip install --upgrade {wanted.name}')}"
    if not wanted.specifier.contains(version, prereleases=True):
        return f"- {wanted.name} {version}: expected {wanted.specifier}. {remedy}"
    try:
        importlib.import_module(_MODULES.get(wanted.name, wanted.name.replace("-", "_")))
    except Exception as error:  # whatever goes wrong in a foreign package is what is asked for
        return f"- {wanted.name} {version}: cannot be imported ({error}). {remedy}"
    return f"- {wanted.name} {version}"


def _describe_parts(registry: Mapping[str, PartSpec]) -> list[str]:
    lines = []
    for spec in registry.values():
        missing = ", ".join(spec.missing())
        remedy = f" Needs {missing}. Run: {install_command(spec.install)}" if missing else ""
        lines.append(f"- {spec.name} ({'missing' if missing else 'ready'}): {spec.summary}{remedy}")
    return lines
