"""All geometry estimators."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import InputError
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
    "pi3": PartSpec(
        name="pi3",
        factory=".geometry.feed_forward.estimator:FeedForwardEstimator",
        requires=("huggingface_hub", "pi3"),
        install="pip install huggingface_hub git+https://github.com/yyfz/Pi3",
        licence="CC BY-NC 4.0",
        summary="A network that sees all photos at once; needs a checkpoint, not for commerce.",
    ),
    "vggt": PartSpec(
        name="vggt",
        factory=".geometry.feed_forward.estimator:FeedForwardEstimator",
        requires=("huggingface_hub", "einops", "vggt"),
        # Without the package's own wishes: they would replace numpy by an older one.
        install=(
            "pip install --no-deps huggingface_hub einops "
            "git+https://github.com/facebookresearch/vggt"
        ),
        licence="CC BY-NC 4.0",
        summary=(
            "Sees all photos at once; needs a checkpoint: VGGT-1B, not for commerce, or "
            "VGGT-1B-Commercial."
        ),
    ),
    "mapanything": PartSpec(
        name="mapanything",
        factory=".geometry.feed_forward.estimator:FeedForwardEstimator",
        requires=("cv2", "einops", "huggingface_hub", "hydra", "timm", "uniception", "mapanything"),
        # Likewise: they would replace opencv and bring viewers.
        install=(
            "pip install --no-deps opencv-python-headless einops huggingface_hub hydra-core "
            "omegaconf antlr4-python3-runtime==4.9.3 timm uniception==0.1.7 "
            "git+https://github.com/facebookresearch/map-anything"
        ),
        licence="CC BY-NC 4.0",
        summary=(
            "Sees all photos at once and knows metres; needs a checkpoint: map-anything, not for "
            "commerce, or map-anything-apache."
        ),
    ),
}

MODELS: dict[str, PartSpec] = {
    name: replace(ESTIMATORS[name], factory=loader)
    for name, loader in {
        "dust3r": ".geometry.dust3r.model:load_dust3r",
        "pi3": ".geometry.feed_forward.pi3:load_pi3",
        "vggt": ".geometry.feed_forward.vggt:load_vggt",
        "mapanything": ".geometry.feed_forward.mapanything:load_mapanything",
    }.items()
}
"""What loads the checkpoints of those estimators that have some: called with path and device."""

RENAMED: dict[str, str] = {}


def make_estimator(name: str, options: GeometryOptions, **own: Any) -> GeometryEstimator:
    """Build a registered estimator.

    Args:
        name: As in `ESTIMATORS`.
        options: What every estimator is told.
        own: What this one alone takes: "dust3r" a `model` and `own` options; "stereo"
            nothing; the others a `model`.

    Raises:
        InputError: If the name is unknown, or a model lacks.
        MissingDependency: If its packages are absent.
    """
    return load_part("Geometry estimator", ESTIMATORS, name, RENAMED)(options, **own)


def load_model(name: str, checkpoint: str | Path, device: str = "cpu") -> Any:
    """Load the `model` of a registered estimator that has one.

    Args:
        name: As in `ESTIMATORS`.
        checkpoint: The file of its weights.
        device: Where it will lie.

    Raises:
        InputError: If the estimator takes no checkpoint, or this one does not fit.
        MissingDependency: If its packages are absent.
        WeightsNotFound: If there is no such file.
        UnsafeCheckpoint: If reading it would run code.
    """
    name = RENAMED.get(name, name)
    if name not in MODELS:
        raise InputError(
            f"Geometry estimator '{name}' takes no checkpoint, but '{checkpoint}' was given. Leave "
            f"it out, or choose one of the estimators {', '.join(MODELS)}."
        )
    return load_part("Geometry estimator", MODELS, name, RENAMED)(checkpoint, device=device)
