"""The files that a run is for."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..export.atomic import replacing, write_text
from ..structure.model import StructureFacts, StructureModel, save_structure_model
from ..video.backbones.small.network import SmallDenoiser
from ..video.backbones.small.weights import FILE, save_small_model
from .learner import Learner
from .options import TrainOptions
from .recipe import recipe_json
from .shards import checksum

MODEL_FILE = "structure.safetensors"
"""In a run's folder."""

logger = logging.getLogger("reconx")


def export_model(learner: Learner, options: TrainOptions, folder: Path, step: int) -> Path:
    """Write `structure.safetensors`, which ReconX_LoadStructureModel takes.

    Beside it: `structure.json` with the recipe and checksums, and what was trained of the backbone
    itself: `lora.safetensors`, `small.safetensors` of the backbone "small", or
    `denoiser.safetensors` of another one that is trained whole.

    Args:
        learner: With the weights that shall be written.
        options: The recipe; folders on this machine are left out of what is written.
        folder: Of the run.
        step: Steps that were done.

    Returns:
        The file.
    """
    recipe = recipe_json(options)
    for source in recipe["data"]:
        source.pop("root")
    recipe["model"] = options.model and options.model.name
    recipe["cloud"]["checkpoint"] = options.cloud.checkpoint and options.cloud.checkpoint.name
    kinds = sorted({source.kind for source in options.data})
    facts = StructureFacts(training_data=", ".join(kinds), licence=options.licence, steps=step)
    model = StructureModel(learner.encoder, learner.adapter, facts)
    path = folder / MODEL_FILE
    save_structure_model(model, path, recipe=recipe)
    files = [path, *_export_own(learner, options, folder, recipe)]
    told = {"recipe": recipe, "sha256": {file.name: checksum(file) for file in files}}
    write_text(folder / "structure.json", json.dumps(told, indent=1) + "\n")
    logger.info("Written: %s", ", ".join(str(file) for file in files))
    return path


def _export_own(
    learner: Learner, options: TrainOptions, folder: Path, recipe: Mapping[str, Any]
) -> list[Path]:
    """What was trained of the backbone itself; nothing of a frozen one."""
    if isinstance(learner.denoiser, SmallDenoiser):
        path = folder / FILE
        save_small_model(learner.denoiser, path, recipe=recipe)
        return [path]
    own = {
        name.removeprefix("denoiser."): value.detach().cpu().contiguous()
        for name, value in learner.trained().items()
        if name.startswith("denoiser.")
    }
    if not own:
        return []
    path = folder / ("lora.safetensors" if options.learn.lora else "denoiser.safetensors")
    if options.learn.lora:
        # As diffusers and ComfyUI name them.
        own = {f"transformer.{_plain(name)}": value for name, value in own.items()}
    with replacing(path) as part:
        save_file(own, part)
    return [path]


def _plain(name: str) -> str:
    """Without the name under which peft keeps one of several adapters."""
    return name.replace(".default.", ".")
