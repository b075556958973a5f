"""What every video backbone is, and what it is asked."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import check_range
from ..errors import InputError
from ..parts import PartSpec
from ..progress import Progress
from ..structure.model import StructureCondition
from ..trajectory.frame_rule import FrameRule, largest_legal_count
from ..types import Cameras, PointRenders, Scene

Dial = Literal[
    "keyframe_strength",
    "keyframe_share",
    "render_strength",
    "render_share",
    "structure_strength",
    "structure_share",
]
"""What of a `GuidanceOptions` a backbone may be able to vary, beside `text_strength`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyframe:
    """A captured photo, or a frame made earlier, that a clip must pass through."""

    image: Float[Tensor, "height width 3"]
    """At the clip's size."""
    valid: Bool[Tensor, "height width"]
    """False on padding and masks."""
    index: int
    """Which frame of the clip it is."""
    photo_index: int
    """Which photo it is; -1 for a frame made earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """How strongly one condition guides, and during which share of the denoising steps."""

    strength: int | float = 1.0
    """1 is full; 0 leaves the condition out."""
    start: int | float = 0.0
    """Share of the steps after which it sets in."""
    end: int | float | None = None
    """Share of the steps after which it lets go. None takes what suits the backbone: all steps for
    what a model was trained to take, `guidance.BLENDED_SHARE` for renders blended into latents."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("Guidance strength", self.strength, 0)
        check_range("Guidance start", self.start, 0, 1)
        if self.end is not None:
            check_range("Guidance end", self.end, 0, 1)
            if self.end <= self.start:
                raise InputError(
                    f"Guidance ends after a share of {self.end:g} of the steps, before it starts "
                    f"at {self.start:g}. Give an end above the start, or a strength of 0."
                )

    def covers(self, step: int, steps: int) -> bool:
        """Whether it guides in a denoising step, counted from 0; its end must be known."""
        assert self.end is not None, "check_guidance has filled it in"
        return self.start <= step / steps < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceOptions:
    """How strongly each condition guides. What a backbone cannot vary must stay as it is here."""

    text_strength: int | float | None = None
    """Classifier-free guidance on the prompt; None takes what suits the backbone."""
    keyframes: Guide = field(default_factory=Guide)
    """Photos and frames made earlier that a clip passes through."""
    renders: Guide = field(default_factory=Guide)
    """Point renders, where they show something."""
    structure: Guide = field(default_factory=Guide)
    """Structure tokens; a strength of 1 folds into the conditional pass."""

    def __post_init__(self) -> None:
        """Check ranges; each guide has checked its own."""
        if self.text_strength is not None:
            check_range("text_strength", self.text_strength, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRequest:
    """One clip that a backbone shall make."""

    cameras: Cameras
    """One per frame; legal for the backbone (`fit_cameras` has been applied)."""
    keyframes: tuple[Keyframe, ...]
    """In the order of their indices."""
    renders: PointRenders
    """The scene's confident points seen from `cameras`, as somebody may have edited them."""
    edited: Bool[Tensor, "frame height width"] | None = None
    """Pixels of the renders that are not as the scene's points are; None = all are."""
    scene: Scene
    """Where the renders come from, for backbones that render for themselves."""
    structure: StructureCondition | None = None
    """3D structure tokens of `cameras[0]` and the adapter that reads them; None = no structure."""
    seed: int = 0
    """Seeds every random choice."""
    steps: int | None = None
    """Denoising steps; None only for backbones that do not denoise."""
    guidance: GuidanceOptions
    """Strengths, as `check_guidance` gives them: what suits the backbone is filled in."""
    device: str = "cpu"
    """Torch device of the heavy work."""


class Clip(NamedTuple):
    """What a backbone returns for a request."""

    frames: Float[Tensor, "frame height width 3"]
    """In [0, 1], one per camera of the request."""
    confidence: Float[Tensor, "frame height width"] | None
    """>= 1, from backbones that know where their pixels came from; None = yet to be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec(PartSpec):
    """What a backbone can take, readable without importing it."""

    frame_rule: FrameRule = "any"
    """Legal frame counts of a clip."""
    size_multiple: int = 1
    """Width and height must be multiples of this."""
    max_frames: int | None = None
    """Longest clip; None = any."""
    keyframes: Literal["first", "first_last", "any"] = "first"
    """Which frames of a clip may be keyframes."""
    needs_first: bool = True
    """Cannot begin a clip without a keyframe."""
    renders: Literal["none", "native", "blended"] = "none"
    """How it takes point renders and holes: not at all, as it was trained to, or blended into its
    latents while they are denoised (`latents.py`)."""
    structure_family: str = ""
    """Structure adapters that were trained for this family fit it, size permitting; "" = none."""
    prompt: bool = False
    """Takes a text prompt."""
    text_strength: float | None = None
    """Classifier-free guidance that suits it; None = it knows none."""
    dials: tuple[Dial, ...] = ()
    """Strengths and shares of the steps that may be varied, beside those of structure: they belong
    to all that take it."""
    default_steps: int | None = None
    """Denoising steps that suit it; None = it does not denoise."""
    memory: str = ""
    """GPU memory that a usual clip takes, for people who choose; "" = none worth telling."""

    def __post_init__(self) -> None:
        """Check that a clip may have two frames: it could not lead anywhere else."""
        longest = self.max_frames
        if longest is not None and largest_legal_count(longest, self.frame_rule) < 2:
            raise InputError(
                f"Backbone '{self.name}' has at most {longest} frames of the rule "
                f"{self.frame_rule}; expected room for a clip of at least two."
            )

    def can_vary(self, dial: Dial) -> bool:
        """Whether a strength or share of the steps may be varied."""
        if dial in ("structure_strength", "structure_share"):
            return bool(self.structure_family)
        return dial in self.dials


@runtime_checkable
class VideoBackbone(Protocol):
    """Makes frames along cameras, passing through keyframes."""

    spec: BackboneSpec

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        """Cameras of a legal count and size nearest to the given ones; pure, K kept true."""
        ...

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        """Make one clip.

        Raises:
            BackboneMismatch: If the request needs a capability that the spec lacks.
        """
        ...
