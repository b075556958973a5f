"""All geometry estimators."""

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
}

RENAMED: dict[str, str] = {}


def make_estimator(name: str, options: GeometryOptions) -> GeometryEstimator:
    """Build a registered estimator.

    Raises:
        InputError: If the name is unknown.
        MissingDependency: If its packages are absent.
    """
    return load_part("Geometry estimator", ESTIMATORS, name, RENAMED)(options)
