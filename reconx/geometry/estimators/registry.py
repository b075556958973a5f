"""All geometry estimators."""

from typing import Any

from ...parts import PartSpec, load_part
from .base import GeometryEstimator, GeometryOptions

ESTIMATORS: dict[str, PartSpec] = {
    "stereo": PartSpec(
        name="stereo",
        factory=".geometry.stereo.estimator:StereoEstimator",
        requires=("poselib",),
        install="pip install poselib pycolmap",
        summary="Classical structure from motion and PatchMatch stereo; needs no weights.",
    ),
    "dust3r": PartSpec(
        name="dust3r",
        factory=".geometry.dust3r.estimator:Dust3rEstimator",
        licence="CC BY-NC-SA 4.0",
        summary="A network that knows rooms and streets; needs a checkpoint, not for commerce.",
    ),
}

RENAMED: dict[str, str] = {}


def make_estimator(name: str, options: GeometryOptions, **own: Any) -> GeometryEstimator:
    """Build a registered estimator.

    Args:
        name: As in `ESTIMATORS`.
        options: What every estimator is told.
        own: What this one alone takes: "dust3r" a `model` and `own` options; "stereo" nothing.

    Raises:
        InputError: If the name is unknown, or a model lacks.
        MissingDependency: If its packages are absent.
    """
    return load_part("Geometry estimator", ESTIMATORS, name, RENAMED)(options, **own)
