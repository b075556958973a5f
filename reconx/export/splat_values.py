"""What the writers of splat files share: checks, and how much they hold in memory at once."""

from ..checks import check_finite
from ..errors import InputError
from ..types import Gaussians

CHUNK = 1 << 16
"""Gaussians that are converted at once: some 15 MB, however large the splat."""


def check_writable(gaussians: Gaussians) -> None:
    """Require Gaussians that a file can hold, before its first byte is written.

    Raises:
        InputError: If there is none, or a value is not finite.
    """
    if not len(gaussians):
        raise InputError("There is no Gaussian to write; expected at least one. Fit a splat first.")
    for name in ("means", "quats", "scales", "opacities", "sh"):
        check_finite(f"Gaussians.{name}", getattr(gaussians, name))
