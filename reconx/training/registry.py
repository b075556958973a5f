"""All backbones that structure can be trained on."""

from collections.abc import Mapping

from ..parts import PartSpec, load_part
from ..video.model_options import ModelSpec
from ..video.registry import BACKBONES
from .base import TrainableBackbone
from .options import TrainOptions

_DIFFUSERS: Mapping[str, str] = {
    "wan-vace": "WanTraining",
    "wan-flf2v": "WanTraining",
    "ltx": "LtxTraining",
    "cogvideox": "CogVideoXTraining",
    "svd": "SvdTraining",
}

TRAINABLE: dict[str, PartSpec] = {
    name: PartSpec(
        name=name,
        factory=f".training.diffusion:{factory}",
        requires=spec.requires,
        install=spec.install,
        licence=spec.licence,
        summary=spec.summary,
    )
    for name, factory in _DIFFUSERS.items()
    if isinstance(spec := BACKBONES[name], ModelSpec)
}
"""Each factory is called with the recipe."""
TRAINABLE["small"] = PartSpec(
    name="small",
    factory=".training.small:SmallTraining",
    summary="The pack's own small model, from random weights; recipe section 'small'.",
)


def make_trainable(options: TrainOptions) -> TrainableBackbone:
    """Build the backbone of a recipe.

    Raises:
        InputError: If it cannot be trained, or its files cannot be used.
        MissingDependency: If its packages are absent.
        WeightsNotFound: If files are missing.
        BackboneMismatch: If the weights are another model's.
    """
    return load_part("Trainable backbone", TRAINABLE, options.backbone, {})(options)
