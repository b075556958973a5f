"""What the trainer needs of a video model, and what it hands to one.

A model in latent space and one in pixel space are the same here: "latents" are whatever the
denoiser denoises, and conditions are named tensors that the model alone understands. What
`encode_clip` returns is kept on disk; `denoise` gets it back, stacked to a batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..render.points import render_scene
from ..structure.sites import Site
from ..types import Cameras, PointRenders, Scene
from ..video.base import BackboneSpec
from .noise import NoiseSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClip:
    """Frames of a posed video with the scene that some of them gave."""

    name: str
    """Where it comes from, for error texts."""
    frames: Float[Tensor, "frame height width 3"]
    """sRGB in [0, 1]; what the model shall learn to make."""
    cameras: Cameras
    """One per frame, in the scene's frame."""
    keyframes: tuple[int, ...]
    """Frames that the model is shown, in order."""
    scene: Scene
    """The point cloud, of the frames that an estimator was given."""
    shows_renders: bool
    """Whether the model is shown point renders too; else it has keyframes and structure alone."""

    def renders(self) -> PointRenders:
        """The scene seen along the clip; all hole where the model is shown none."""
        if self.shows_renders:
            return render_scene(self.scene, self.cameras)
        shape = self.frames.shape[:3]
        return PointRenders(
            cameras=self.cameras,
            colour=torch.zeros(*shape, 3),
            depth=torch.zeros(shape),
            confidence=torch.ones(shape),
            hole=torch.ones(shape, dtype=torch.bool),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedClip:
    """A clip as a model denoises it; no batch dimension anywhere."""

    latents: Float[Tensor, "*shape"]
    """Clean, scaled as the denoiser takes them; of one shape for all clips of one size."""
    conditions: Mapping[str, Tensor]
    """What else the denoiser is told of this clip, but for noise level and structure."""
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    """Conditions that are the same for all clips, such as the prompt's; kept once."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What is no tensor, in JSON's types; the same for all clips too."""


@runtime_checkable
class TrainableBackbone(Protocol):
    """A video model that structure can be trained on."""

    spec: BackboneSpec
    """Name, sizes, frame counts and keyframes that it can take."""
    schedule: NoiseSchedule
    """Its noise levels, and what it predicts."""
    whole: bool
    """Whether all of the denoiser is trained (a model of our own); else it stays frozen, but for
    LoRA layers."""

    def facts(self) -> Mapping[str, Any]:
        """What encoded clips depend on, in JSON's types: another value, another cache."""
        ...

    def encode_clip(self, clip: TrainingClip, device: torch.device) -> EncodedClip:
        """Frames to latents; keyframes, text, renders and cameras to conditions. Runs once.

        Raises:
            BackboneMismatch: If these weights cannot make such a clip.
        """
        ...

    def load_denoiser(self, dtype: torch.dtype) -> nn.Module:
        """The network alone, on the CPU; everything else may be dropped from memory."""
        ...

    def find_sites(self, denoiser: nn.Module) -> Sequence[Site]:
        """Where structure enters it."""
        ...

    def denoise(
        self,
        denoiser: nn.Module,
        noised: Float[Tensor, "clip ..."],
        time: Float[Tensor, " clip"],
        conditions: Mapping[str, Tensor],
        settings: Mapping[str, Any],
    ) -> Float[Tensor, "clip ..."]:
        """The denoiser's prediction for a batch, as `schedule.prediction` names it.

        Args:
            denoiser: From `load_denoiser`, perhaps wrapped since.
            noised: Latents.
            time: Noise level of each clip, as `schedule` tells it.
            conditions: Of each clip, and those that all share, repeated for each.
            settings: As `encode_clip` told them.
        """
        ...

    def counted(self, conditions: Mapping[str, Tensor]) -> Bool[Tensor, "clip ..."] | None:
        """Which latents the loss counts; broadcasts to them. None = all."""
        ...

    def decode(
        self,
        latents: Float[Tensor, "*shape"],
        settings: Mapping[str, Any],
        device: torch.device,
    ) -> Float[Tensor, "frame height width 3"]:
        """One clip's latents as pictures in [0, 1], on the CPU."""
        ...
