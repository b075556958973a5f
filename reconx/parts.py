"""The one pattern of swappable parts: a literal dict of specs, imported on first use.

Owns what registries share: the spec, the look-up and its errors. Each folder owns its dict.
"""

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .checks import check_choice
from .errors import MissingDependency


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSpec:
    """What is known of a part without importing it."""

    name: str
    """Saved in users' workflows: frozen from the first release."""
    factory: str
    """Where it lies, relative to the `reconx` package: ".folder.module:Class"."""
    requires: tuple[str, ...] = ()
    """Import names of packages that the part cannot work without."""
    install: str = ""
    """The pip command that brings them."""
    licence: str = "Apache-2.0"
    """Licence of code and weights together, the stricter one."""
    summary: str = ""
    """One sentence for people who choose."""

    def missing(self) -> tuple[str, ...]:
        """Required packages that are not installed."""
        return tuple(name for name in self.requires if importlib.util.find_spec(name) is None)


def install_command(install: str) -> str:
    """A pip command as this very Python is given it, from whichever folder it is typed.

    A shell's own `pip` often belongs to another Python: that of Windows portable packages lies in
    no path. Where this Python ignores the user's own packages (`-s`), pip shall too.

    Args:
        install: As in a spec: "pip install numba".
    """
    isolated = ["-s"] if sys.flags.no_user_site else []
    return subprocess.list2cmdline([sys.executable, *isolated, "-m", *install.split()])


def load_part(
    kind: str, registry: Mapping[str, PartSpec], name: str, renamed: Mapping[str, str]
) -> Any:
    """Import a registered part and return its factory.

    Args:
        kind: What the part is, for error texts, e.g. "Video backbone".
        registry: Name to spec.
        name: What the user chose.
        renamed: Old names to today's.

    Raises:
        InputError: If the name is unknown; the known ones are listed.
        MissingDependency: If a required package is absent; the text holds the pip command.
    """
    name = renamed.get(name, name)
    check_choice(kind, name, tuple(registry))
    spec = registry[name]
    missing = spec.missing()
    if missing:
        raise MissingDependency(
            f"{kind} '{name}' needs {', '.join(missing)}. Run: {install_command(spec.install)}"
        )
    module, _, attribute = spec.factory.partition(":")
    return getattr(importlib.import_module(module, __package__), attribute)
