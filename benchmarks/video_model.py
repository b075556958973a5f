"""What a video model of full size takes on a device: a clip's time and memory, and learning's.

Run from the repository's root: `python benchmarks/video_model.py --device cuda`. Needs what
requirements-diffusers.txt lists, 32 GB of memory and 5 GB in the folder for temporary files, and no
weights: Wan VACE 1.3B is built with random ones of its published sizes. One layer stands in for the
24 of its text encoder, which is over before the first step, so what "model" keeps free for that
(11 GB) is not measured. Three denoising steps are made, since all of them cost the same.
`--quick` proves on any machine that everything runs; its figures mean nothing.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers  # pyright: ignore[reportMissingImports]
import torch
import transformers  # pyright: ignore[reportMissingImports]
from gpu import describe_device, list_versions, measure
from scenes import make_photographed_plane
from tokenizers import Tokenizer, models, pre_tokenizers  # pyright: ignore[reportMissingImports]

from reconx.progress import Preview
from reconx.structure.encoder import EncoderSizes
from reconx.training.costs import measure_costs
from reconx.training.options import ClipOptions, DataOptions, LearnOptions, TrainOptions
from reconx.training.registry import make_trainable
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.video.model_options import OFFLOADS, ModelOptions
from reconx.video.registry import make_backbone
from reconx.video.sample import sample_views

STEPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of the model, and of what is made and learned."""

    transformer: dict[str, Any]
    vae: dict[str, Any]
    text_width: int
    clip: tuple[int, int, int]
    """Width, height, frames."""
    learned: tuple[tuple[int, int, int], ...]
    encoder: EncoderSizes = field(default_factory=EncoderSizes)


FULL = Sizes(
    transformer={
        **{"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960},
        **{"num_layers": 30, "vace_layers": list(range(0, 30, 2)), "vace_in_channels": 96},
        **{"in_channels": 16, "out_channels": 16, "text_dim": 4096},
    },
    vae={},
    text_width=4096,
    clip=(832, 480, 33),
    learned=((512, 320, 17), (832, 480, 81)),
)
QUICK = Sizes(
    transformer={
        **{"num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32},
        **{"num_layers": 2, "vace_layers": [0], "vace_in_channels": 96},
        **{"in_channels": 16, "out_channels": 16, "text_dim": 32, "rope_max_seq_len": 32},
    },
    vae={"base_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    text_width=32,
    clip=(64, 48, 5),
    learned=((64, 48, 5),),
    encoder=EncoderSizes(width=32, heads=2, queries=16, self_blocks=1, octaves=2),
)


def write_model(folder: Path, sizes: Sizes, device: str) -> None:
    """Lay the pipeline out as its makers do, in bf16."""
    torch.manual_seed(0)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    width = sizes.text_width
    text = {"d_model": width, "d_ff": width, "d_kv": width // 4, "num_heads": 4}
    with torch.device(device):
        parts = {
            "text_encoder": transformers.UMT5EncoderModel(
                transformers.UMT5Config(**text, num_layers=1, vocab_size=16)
            ),
            "vae": diffusers.AutoencoderKLWan(**sizes.vae),
            "transformer": diffusers.WanVACETransformer3DModel(**sizes.transformer),
        }
    pipeline = diffusers.WanVACEPipeline(
        tokenizer=transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        **parts,
    )
    pipeline.to(torch.bfloat16).save_pretrained(folder)


class StepClock:
    """Notes when each denoising step ends."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self.ends: list[float] = []
        self._stage = ""

    def start(self, stage: str, total: int) -> "StepClock":
        """Begin a stage."""
        self._stage = stage
        return self

    def update(self, done: int, preview: Preview | None = None) -> None:
        """Note the time."""
        if self._stage == "Denoising":
            self.ends.append(time.perf_counter())


def measure_clip(folder: Path, sizes: Sizes, device: str, offload: str) -> dict[str, Any]:
    """One clip, weights read beforehand, and how long a step of it takes."""
    width, height, frames = sizes.clip
    scene, _ = make_photographed_plane(2, width, height)
    path = make_path(scene, PathOptions(frames=frames, width=width, height=height))
    backbone = make_backbone("wan-vace", ModelOptions(folder=folder, offload=offload))
    sample_views(backbone, scene, path, steps=1, device=device)
    clock = StepClock()
    usage = measure(
        device,
        lambda: sample_views(backbone, scene, path, steps=STEPS, device=device, progress=clock),
    )
    steps = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]
    return usage | {"step_seconds": min(steps)}


def measure_learning(
    folder: Path, sizes: Sizes, device: str, clip: tuple[int, int, int]
) -> dict[str, Any]:
    """Steps that train structure's encoder and adapter beside the frozen model."""
    width, height, frames = clip
    options = TrainOptions(
        backbone="wan-vace",
        model=folder,
        data=(DataOptions(kind="procedural", clips=4, scenes=4, frames=2 * frames),),
        clip=ClipOptions(width=width, height=height, frames=frames, skip=1),
        encoder=sizes.encoder,
        learn=LearnOptions(batch=1, precision="fp32" if device == "cpu" else "bf16"),
    )
    backbone = make_trainable(options)
    with TemporaryDirectory() as scratch:
        # A run takes the GPU that is there, unless it is told to keep off.
        away = "cpu" if device == "cpu" else None
        costs = measure_costs(options, backbone, Path(scratch), away)
    return {
        "trained": sum(costs.trained.values()),
        "frozen": costs.frozen,
        "step_seconds": round(costs.step_seconds, 3),
        "encode_seconds": round(costs.encode_seconds, 3),
        "peak_megabytes": round(1e3 * costs.peak_gb, 1),
    }


def main() -> None:
    """Measure everything and write one JSON file."""
    parser = argparse.ArgumentParser(description="Measure a video model of full size.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    sizes, device = (QUICK if options.quick else FULL), options.device
    kind = torch.device(device).type
    date = datetime.now(UTC)
    path = options.out / f"video-{kind}{'-quick' if options.quick else ''}-{date:%Y-%m-%d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"clip": {}, "learning": {}}
    report = {
        "date": date.isoformat(timespec="seconds"),
        "device": describe_device(device),
        "versions": list_versions(),
        "quick": options.quick,
        "note": options.note,
        "clip": sizes.clip,
        "figures": figures,
    }

    def keep(group: str, name: str, call: Callable[[], dict[str, Any]]) -> None:
        gc.collect()  # what was measured before refers to itself
        figures[group][name] = call()
        print(group, name, json.dumps(figures[group][name]), flush=True)
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "wan-vace"
        write_model(folder, sizes, device)
        for offload in reversed(OFFLOADS):
            keep("clip", offload, lambda o=offload: measure_clip(folder, sizes, device, o))
        for clip in sizes.learned:
            name = "{} x {} x {}".format(*clip)
            keep("learning", name, lambda c=clip: measure_learning(folder, sizes, device, c))
    print(path)


if __name__ == "__main__":
    main()
