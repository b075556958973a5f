"""What every video backbone is, and what it is asked."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import check_range
from ..parts import PartSpec
from ..progress import Progress
from ..trajectory.frame_rule import FrameRule
from ..types import Cameras, PointRenders, Scene, StructureTokens


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
class GuidanceOptions:
    """How strongly each condition guides, and during which share of the denoising steps."""

    text_strength: float = 5.0
    """Classifier-free guidance on the prompt; backbones without a prompt ignore it."""
    structure_strength: float = 1.0
    """Guidance on structure tokens; 1 folds into the conditional pass."""
    render_share: float = 0.6
    """Share of the steps during which point renders hold the known pixels."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("text_strength", self.text_strength, 0)
        check_range("structure_strength", self.structure_strength, 0)
        check_range("render_share", self.render_share, 0, 1)


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
    structure: StructureTokens | None = None
    """3D structure tokens; None when nothing encodes them."""
    seed: int = 0
    """Seeds every random choice."""
    steps: int | None = None
    """Denoising steps; None only for backbones that do not denoise."""
    guidance: GuidanceOptions = field(default_factory=GuidanceOptions)
    """Strengths."""
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
    first_last: bool = False
    """Passes through a first and a last keyframe."""
    keyframes: bool = False
    """Passes through keyframes anywhere."""
    render_guidance: bool = False
    """Takes point renders and holes."""
    structure_tokens: bool = False
    """Takes 3D structure tokens."""
    prompt: bool = False
    """Takes a text prompt."""
    default_steps: int | None = None
    """Denoising steps that suit it; None = it does not denoise."""
    drop_keyframes: bool = False
    """Was trained to lose keyframes, so that guidance may drop them."""


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
