"""Every choice of a training run: what a recipe file holds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..checks import check_choice, check_range
from ..errors import InputError
from ..structure.encoder import EncoderSizes
from ..video.backbones.small.network import SmallSizes

DATA_KINDS = ("procedural", "folders", "re10k", "acid", "dl3dv")
"""What `DataOptions.kind` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """One source of posed videos."""

    kind: str
    """One of `DATA_KINDS`; "folders" are scenes in the layout of nerfstudio or COLMAP."""
    root: Path | None = None
    """Where it lies; procedural scenes lie nowhere."""
    clips: int = 1000
    """How many clips to cut, spread evenly over its scenes."""
    scenes: int = 1000
    """Procedural: how many worlds."""
    first: int = 0
    """Procedural: number of the first world."""
    frames: int = 64
    """Procedural: frames of each world's path; the fewer, the farther apart."""

    def __post_init__(self) -> None:
        """Check that root and kind go together."""
        check_choice("Kind of data", self.kind, DATA_KINDS)
        check_range("Clips of a source", self.clips, 1)
        check_range("Procedural frames", self.frames, 2)
        if (self.root is None) != (self.kind == "procedural"):
            remedy = "Leave it out" if self.root is not None else "Give the folder of the data"
            raise InputError(f"Data of kind '{self.kind}' has root {self.root}. {remedy}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOptions:
    """How clips are cut out of videos."""

    frames: int = 17
    """Of a clip; the backbone must be able to make that many."""
    width: int = 512
    """Pixels; videos are scaled and cut to this."""
    height: int = 320
    """Likewise."""
    skip: int = 4
    """Neighbouring frames lie up to this many of the video's apart, the same within a clip."""
    keyframes: int = 2
    """The most that are shown at random places between first and last, where a backbone can."""
    uneven: bool = False
    """Whether frames lie anywhere in the video, also beyond the two that are shown at the ends of
    the clip: for models that fill holes along any path."""
    renders: float = 0.0
    """Share of clips with point renders; for backbones that take them natively."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("Frames of a clip", self.frames, 2)
        for name, low in {"width": 8, "height": 8, "skip": 1, "keyframes": 0}.items():
            check_range(f"Clip '{name}'", getattr(self, name), low)
        check_range("Share of clips with renders", self.renders, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudOptions:
    """Where the point cloud of a clip comes from."""

    source: str = "depth"
    """"depth": the data's own; else a registered geometry estimator, such as "stereo", "dust3r"."""
    checkpoint: Path | None = None
    """The estimator's weights, if it has some."""
    views: int = 3
    """Frames of the clip that it is given: first, last, and others at random in between."""
    size: int = 256
    """Long side of its pointmaps in pixels."""
    missing: float = 0.0
    """Of the data's own depth, at most this share is withheld in patches, and guessed as estimators
    guess what they do not measure."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("Share of depth that is missing", self.missing, 0, 0.9)
        if self.missing and self.source != "depth":
            raise InputError(
                f"Of the clouds, {self.missing:.0%} shall be missing, and '{self.source}' makes "
                "them; expected source 'depth'. An estimator leaves out enough itself."
            )
        check_range("Views of a cloud", self.views, 2)
        check_range("Size of a cloud's pointmaps", self.size, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnOptions:
    """How the weights are learned."""

    steps: int = 30_000
    """With structure."""
    warm_up: int = 0
    """Steps before those, without structure: they train what is trained of the backbone itself."""
    rate: float = 1e-4
    """Learning rate of encoder and adapter; a gate of 0.01 holds first changes small."""
    backbone_rate: float = 1e-5
    """Learning rate of what is trained of the backbone."""
    ramp: int = 100
    """Steps over which both rise from 0, at the beginning of each of the two stages."""
    decay: float = 0.01
    """Weight decay (AdamW)."""
    clip_norm: float = 1.0
    """Longest gradient."""
    batch: int = 8
    """Clips of a step, over all processes."""
    at_once: int = 1
    """Clips that a process takes at once; the rest of the batch is accumulated."""
    dropped: float = 0.1
    """Share of clips without structure, so that guidance has both; 1 never shows any, for
    comparison. A frozen backbone learns nothing from those, and is not given any."""
    average: float = 0.999
    """Decay of the moving average of the weights, which is what is exported; 0 = none."""
    lora: int = 0
    """Rank of LoRA layers in the attentions that read structure; 0 = the backbone stays frozen."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Of the frozen weights and the passes through them; what is trained is kept in fp32."""
    checkpointing: bool = True
    """Compute activations again on the way back: about a third more time, far less memory."""
    seed: int = 0
    """Seeds every random choice."""

    def __post_init__(self) -> None:
        """Check ranges."""
        lows = {"steps": 1, "warm_up": 0, "rate": 0, "backbone_rate": 0, "ramp": 0, "decay": 0}
        lows |= {"clip_norm": 1e-9, "batch": 1, "at_once": 1, "lora": 0, "seed": 0}
        for name, low in lows.items():
            check_range(f"Option '{name}'", getattr(self, name), low)
        check_range("Share of clips without structure", self.dropped, 0, 1)
        check_range("Decay of the average", self.average, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepOptions:
    """What is written while training, and how often, in steps."""

    checkpoint: int = 500
    """A run that is killed goes on from the last one."""
    checkpoints: int = 2
    """How many stay."""
    log: int = 10
    """Lines of the log."""
    sample: int = 1000
    """A clip that is made with the weights so far, as a video; 0 = none."""
    sample_steps: int = 20
    """Denoising steps of that."""
    tensorboard: bool = False
    """Also write for TensorBoard."""
    shard: int = 32
    """Clips per file of the cache."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("checkpoint", "checkpoints", "log", "sample_steps", "shard"):
            check_range(f"Option '{name}'", getattr(self, name), 1)
        check_range("Option 'sample'", self.sample, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """A recipe."""

    backbone: str
    """Registered video backbone."""
    model: Path | None = None
    """Its weights in the diffusers layout, for a backbone that has some."""
    offload: str = "model"
    """What of it waits on the CPU while clips are encoded; see `ModelOptions.offload`."""
    prompt: str | None = None
    """What the videos show; None = the pack's own words."""
    data: tuple[DataOptions, ...] = (DataOptions(kind="procedural"),)
    """Where videos come from."""
    clip: ClipOptions = field(default_factory=ClipOptions)
    """How clips are cut."""
    cloud: CloudOptions = field(default_factory=CloudOptions)
    """Where point clouds come from."""
    encoder: EncoderSizes = field(default_factory=EncoderSizes)
    """Sizes of the structure encoder."""
    rank: int | None = None
    """Rank of the adapter's projections; None = full."""
    small: SmallSizes = field(default_factory=SmallSizes)
    """Sizes of the backbone "small"."""
    learn: LearnOptions = field(default_factory=LearnOptions)
    """How weights are learned."""
    keep: KeepOptions = field(default_factory=KeepOptions)
    """What is written."""
    licence: str = "unknown"
    """Of the trained weights, which depends on the data's and the backbone's; told in the file."""

    def __post_init__(self) -> None:
        """Check that there is something to learn from."""
        if not self.data:
            raise InputError("A recipe has no data; expected at least one source.")
        if self.rank is not None:
            check_range("Rank of the adapter", self.rank, 1)
