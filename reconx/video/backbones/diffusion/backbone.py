"""What all diffusers backbones share: checks, the denoising of a clip, progress and cancelling.

An adapter says which pipeline it drives, what of a request that pipeline takes, and, where renders
are blended, how its latents lie. Nothing here goes to the network.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import BackboneMismatch
from ....progress import Preview, Progress
from ....types import Cameras
from ...base import BackboneSpec, Clip, ClipRequest, GuidanceOptions, Keyframe
from ...conditions import make_control_video
from ...fitting import fit_cameras_to_spec
from ...model_options import ModelOptions
from ..background import fill_from_background
from .blending import LatentLayout, RenderBlend
from .folder import ModelFolder, count_values
from .loading import PipelineHolder, PipelineKind
from .previews import KnownPictures, picture_latents
from .structure import Passes, StructureInPipeline


class DiffusersBackbone(ABC):
    """A video model that a pipeline of diffusers runs."""

    kind: ClassVar[PipelineKind]
    """Which pipeline."""
    strongest: ClassVar[float] = 1.0
    """Highest strength of a guide: 1 is all that latents can be held."""
    passes: ClassVar[Passes] = "batched"
    """How the pipeline asks with and without the prompt."""

    def __init__(self, spec: BackboneSpec, options: ModelOptions) -> None:
        """Look through the files; the first clip loads them.

        Raises:
            WeightsNotFound: If the folder or a part of it is not there.
            InputError: If it is no pipeline, or a file is damaged.
            UnsafeCheckpoint: If it brings code, or pickled weights alone.
            BackboneMismatch: If it holds another model.
        """
        self.spec = spec
        self.options = options
        own = self.kind.denoiser if options.weights else None
        self.folder = ModelFolder.read(options.folder, elsewhere=own)
        if options.weights:
            values = {**self.folder.values, self.kind.denoiser: count_values(options.weights)}
            self.folder = replace(self.folder, values=values)
        self._check_family()
        self.check_model()
        self._holder = PipelineHolder(self.kind, self.folder, options, self.pipeline_class)

    def pipeline_class(self) -> Any:
        """The class of `kind`."""
        return getattr(importlib.import_module("diffusers"), self.kind.name)

    def check_model(self) -> None:
        """Refuse weights of the right family that cannot do what the spec says."""
        return

    def check_request(self, request: ClipRequest) -> None:
        """Refuse a clip that these weights cannot make."""
        return

    @abstractmethod
    def arguments(self, pipeline: Any, request: ClipRequest) -> Mapping[str, Any]:
        """What the pipeline is told of a request, beside what all are told."""

    def layout(self, pipeline: Any, request: ClipRequest) -> LatentLayout | None:
        """How latents lie; None where renders are taken natively."""
        return None

    def encode(
        self, pipeline: Any, video: Float[Tensor, "1 3 frame height width"]
    ) -> Float[Tensor, "1 ..."]:
        """A video in [-1, 1] as latents of the pipeline's scale and layout."""
        raise NotImplementedError

    def plain_latents(
        self, pipeline: Any, request: ClipRequest, latents: Tensor
    ) -> Float[Tensor, "channel latent_frame h w"]:
        """A clip's own latents, out of the pipeline's layout."""
        layout = self.layout(pipeline, request)
        return latents[0] if layout is None else layout.plain(latents)

    def known_pictures(
        self, pipeline: Any, request: ClipRequest, blend: RenderBlend | None
    ) -> KnownPictures | None:
        """What was encoded for the clip; None where the pipeline keeps that to itself."""
        if blend is None:
            return None
        return KnownPictures(self.plain_latents(pipeline, request, blend.clean), blend.frames)

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        """Legal counts and sizes as the spec says; one frame alone is no video."""
        return fit_cameras_to_spec(cameras[[0, 0]] if len(cameras) == 1 else cameras, self.spec)

    @contextmanager
    def loaded(self, device: torch.device, progress: Progress) -> Iterator[Any]:
        """The pipeline on a device within the block, for whoever needs more of it than clips."""
        with self._holder.on(device, progress) as pipeline:
            yield pipeline

    def read_component(self, name: str, dtype: torch.dtype) -> Any:
        """One component alone, on the CPU, apart from the pipeline.

        Raises:
            InputError: If it cannot be loaded.
        """
        return self._holder.read_component(name, dtype)

    def read_scheduler(self) -> Any:
        """The pipeline's scheduler, as its makers set it."""
        return self._holder.read_scheduler()

    def release(self) -> None:
        """Give the memory of the weights back; the next clip loads them again."""
        self._holder.release()

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        """Denoise a clip.

        Raises:
            BackboneMismatch: If these weights cannot make it.
            InputError: If the weights cannot be loaded.
        """
        self._check_strengths(request.guidance)
        self.check_request(request)
        assert request.steps is not None, "the spec has default steps"
        structure = StructureInPipeline(request, self.kind.denoiser, self.passes)
        device = torch.device(request.device)
        with (
            self._holder.on(device, progress, beside_megabytes=structure.megabytes) as pipeline,
            structure.inside(pipeline),
        ):
            task = progress.start("Denoising", request.steps)
            generator = torch.Generator().manual_seed(request.seed)
            given = dict(self.arguments(pipeline, request))
            layout, blend = self.layout(pipeline, request), None
            if layout is not None:
                noise = torch.randn(layout.shape(request.cameras), generator=generator)
                given["latents"] = noise.to(layout.dtype)
                blend = self._blend(pipeline, layout, noise, request)

            def after_step(_: Any, step: int, time: Any, state: dict[str, Any]) -> dict[str, Any]:
                latents = state["latents"]
                if blend is not None:
                    latents = blend.apply(pipeline.scheduler, step, latents)
                structure.after_step(step)
                task.update(step + 1, self._preview(pipeline, request, blend, latents))
                return {"latents": latents}

            made = pipeline(
                height=request.cameras.height,
                width=request.cameras.width,
                num_frames=len(request.cameras),
                num_inference_steps=request.steps,
                generator=generator,
                output_type="pt",
                callback_on_step_end=after_step,
                **self._text(request),
                **given,
            ).frames
        return Clip(frames=made[0].permute(0, 2, 3, 1).float().cpu().contiguous(), confidence=None)

    def _check_family(self) -> None:
        wanted, found = self.kind.denoiser_class, self.folder.components.get(self.kind.denoiser)
        if found != wanted:
            raise BackboneMismatch(
                f"Backbone '{self.spec.name}' runs a {wanted}, and '{self.folder.path}' holds a "
                f"{self.folder.settings.get('_class_name')} with {found or 'none'}. Choose the "
                "backbone of that model, or another folder."
            )

    def _check_strengths(self, guidance: GuidanceOptions) -> None:
        for name, guide in (("renders", guidance.renders), ("keyframes", guidance.keyframes)):
            if guide.strength > self.strongest:
                raise BackboneMismatch(
                    f"Backbone '{self.spec.name}' cannot follow {name} at a strength of "
                    f"{guide.strength:g}; expected at most {self.strongest:g}."
                )

    def _text(self, request: ClipRequest) -> dict[str, Any]:
        if not self.spec.prompt:
            return {}
        return {
            "prompt": self.options.prompt,
            "negative_prompt": self.options.negative_prompt,
            "guidance_scale": request.guidance.text_strength,
        }

    def _preview(
        self, pipeline: Any, request: ClipRequest, blend: RenderBlend | None, latents: Tensor
    ) -> Preview | None:
        """The clip as far as it is denoised; nothing is computed until somebody looks."""
        known = self.known_pictures(pipeline, request, blend)
        if known is None:
            return None
        return lambda: picture_latents(self.plain_latents(pipeline, request, latents), known)

    def _blend(
        self,
        pipeline: Any,
        layout: LatentLayout,
        noise: Float[Tensor, "1 a b h w"],
        request: ClipRequest,
    ) -> RenderBlend | None:
        if request.guidance.renders.strength == 0:
            return None
        assert request.steps is not None
        video = make_control_video(request)
        pictures = (video.frames * 2 - 1).permute(3, 0, 1, 2)[None]
        with torch.no_grad():
            clean = self.encode(pipeline, pictures.to(request.device, pipeline.vae.dtype))
        return RenderBlend(
            clean=layout.padded(clean),
            frames=video.frames,
            noise=noise,
            known=layout.mask(video.known),
            guide=request.guidance.renders,
            steps=request.steps,
        )


def end_keyframes(request: ClipRequest) -> tuple[Keyframe | None, Keyframe | None]:
    """A clip's keyframes at its first and last frame.

    A clip that was lengthened from one frame rests at its keyframe, which is both then.
    """
    last = len(request.cameras) - 1
    found = {keyframe.index: keyframe for keyframe in request.keyframes}
    poses = request.cameras.camera_to_world
    if 0 not in found and torch.equal(poses, poses[-1:].expand_as(poses)):
        return found.get(last), found.get(last)
    return found.get(0), found.get(last)


def whole_picture(keyframe: Keyframe) -> Float[Tensor, "height width 3"]:
    """A keyframe for a model that takes no mask: padding is continued from beside it."""
    image, valid = keyframe.image, keyframe.valid
    neutral = image[valid].mean(0) if bool(valid.any()) else image.mean((0, 1))
    return fill_from_background(image, torch.ones_like(image[..., 0]), valid, neutral)
