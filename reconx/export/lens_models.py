"""Lens models by their names in COLMAP and nerfstudio."""

from collections.abc import Mapping
from typing import NamedTuple

from ..types import LensDistortion


class LensModel(NamedTuple):
    """One of COLMAP's camera models."""

    number: int
    """In binary files."""
    parameters: tuple[str, ...]
    """In the order of the files."""


_SIMPLE, _FULL = ("f", "cx", "cy"), ("fx", "fy", "cx", "cy")
LENS_MODELS = {
    "SIMPLE_PINHOLE": LensModel(0, _SIMPLE),
    "PINHOLE": LensModel(1, _FULL),
    "SIMPLE_RADIAL": LensModel(2, (*_SIMPLE, "k1")),
    "RADIAL": LensModel(3, (*_SIMPLE, "k1", "k2")),
    "OPENCV": LensModel(4, (*_FULL, "k1", "k2", "p1", "p2")),
    "OPENCV_FISHEYE": LensModel(5, (*_FULL, "k1", "k2", "k3", "k4")),
    "FULL_OPENCV": LensModel(6, (*_FULL, "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    "SIMPLE_RADIAL_FISHEYE": LensModel(8, (*_SIMPLE, "k1")),
    "RADIAL_FISHEYE": LensModel(9, (*_SIMPLE, "k1", "k2")),
    "SIMPLE_FISHEYE": LensModel(14, _SIMPLE),
    "FISHEYE": LensModel(15, _FULL),
}
"""Those whose distortion we can remove; see COLMAP's sensor/models.h."""


def lens_distortion(parameters: Mapping[str, float], *, fisheye: bool) -> LensDistortion:
    """The distortion among a camera's named parameters; what is not named is 0."""

    def values(*names: str) -> tuple[float, ...]:
        return tuple(parameters.get(name, 0.0) for name in names)

    if fisheye:
        return LensDistortion(radial=values("k1", "k2", "k3", "k4"), fisheye=True)
    return LensDistortion(
        radial=values("k1", "k2", "k3"),
        divisor=values("k4", "k5", "k6"),
        tangential=(parameters.get("p1", 0.0), parameters.get("p2", 0.0)),
    )
