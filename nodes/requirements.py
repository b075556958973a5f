"""What to tell when the pack's requirements are not installed. Needs none of them itself."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"
_PACKAGES = {"PIL": "pillow"}
"""Modules that are installed by quite another name."""


def explain_missing(error: ModuleNotFoundError, requirements: Path = REQUIREMENTS) -> None:
    """Turn an import error into what to do, if a requirement that is not installed caused it.

    Args:
        error: What an import raised.
        requirements: The list, one package per line.

    Raises:
        ImportError: Naming every requirement that is missing, and the command that installs them.
    """
    module = (error.name or "").partition(".")[0]
    listed = re.findall(r"^[\w-]+", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    missing = [package for package in listed if not _is_installed(package)]
    if _PACKAGES.get(module, module.replace("_", "-")) not in missing:
        return
    isolated = ["-s"] if sys.flags.no_user_site else []
    command = [sys.executable, *isolated, "-m", "pip", "install", "-r", str(requirements)]
    raise ImportError(
        f"ReconX cannot start without {', '.join(missing)}. Run: {subprocess.list2cmdline(command)}"
    ) from error


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
