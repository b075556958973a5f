"""A video model of the host's own as a backbone: the library's protocol over the host's sampling.

What differs between model families lies in `families.py`; this file owns what is the same: the
sampler's loop, holding known latents, previews, and what is checked before. All that is loaded
is loaded, offloaded and freed by the host.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..reconx.progress import Preview, Progress
from ..reconx.structure.sites import find_sites
from ..reconx.types import Cameras
from ..reconx.video.base import BackboneSpec, Clip, ClipRequest
from ..reconx.video.fitting import fit_cameras_to_spec
from ..reconx.video.latents import blend_latents
from .adapting import HOST_RULES, apply_structure, step_of, structure_family
from .conditions import Conditions, HostModels, Known
from .families import backbone_spec, check_models, find_family
from .legs import Leg, plan_legs

WRAPPER = "reconx"
"""Under which the host keeps what is added to a model."""


def sampler_names() -> list[str]:
    """The host's samplers."""
    import comfy.samplers

    return list(comfy.samplers.SAMPLER_NAMES)


def scheduler_names() -> list[str]:
    """The host's schedulers."""
    import comfy.samplers

    return list(comfy.samplers.SCHEDULER_NAMES)


class HostBackbone:
    """Makes clips with a MODEL and a VAE of the host."""

    spec: BackboneSpec

    def __init__(self, models: HostModels, sampler: str, scheduler: str) -> None:
        """Read off the model what it can take.

        Args:
            models: What the user has connected.
            sampler: One of the host's sampler names.
            scheduler: One of the host's scheduler names.

        Raises:
            BackboneMismatch: If the model is of a family that cannot be driven, or VAE or model
                patch do not go with it.
        """
        self._models = models
        self._sampler, self._scheduler = sampler, scheduler
        self._family = find_family(models)
        check_models(models, self._family)
        family = structure_family(models.model)
        self.spec = replace(backbone_spec(self._family), structure_family=family)

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        """The next legal count and size."""
        return fit_cameras_to_spec(cameras, self.spec)

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        """Denoise one clip, with the host's sampler.

        Raises:
            InputError: If a strength is above what the model's family takes.
            BackboneMismatch: If structure was trained for another model.
        """
        if request.structure is not None:
            network = self._models.model.model.diffusion_model
            request.structure.adapter.check_fit(find_sites(network, HOST_RULES))
        # As the host runs its own samplers; the library is called outside of it.
        with torch.inference_mode():
            frames = self._models.vae.decode(self._denoise(request, progress))
        frames = frames.reshape(-1, *frames.shape[-3:])[..., :3]
        # A copy made outside inference mode may take part in a fit.
        return Clip(frames=frames.to("cpu", torch.float32).clone(), confidence=None)

    def _denoise(self, request: ClipRequest, progress: Progress) -> Tensor:
        sigmas = self._noise_levels(request)
        report = _report_steps(self._models.model, len(sigmas) - 1, progress)
        latents = None
        for leg in plan_legs(self._family, self._models, request, sigmas.tolist()):
            conditions = self._family.prepare(leg.models, leg.request)
            latents = conditions.finish(self._take_leg(leg, conditions, latents, sigmas, report))
        assert latents is not None, "a clip has at least one step"
        return latents

    def _noise_levels(self, request: ClipRequest) -> Float[Tensor, " level"]:
        """The noise level before each step, and after the last."""
        import comfy.samplers

        assert request.steps is not None, "the spec names a number of steps"
        model = self._models.model
        sampler = comfy.samplers.KSampler(
            model, request.steps, model.load_device, self._sampler, self._scheduler
        )
        return sampler.sigmas

    def _take_leg(
        self,
        leg: Leg,
        conditions: Conditions,
        latents: Tensor | None,
        sigmas: Float[Tensor, " level"],
        report: Callable[[int, Tensor], None],
    ) -> Tensor:
        """Denoise from what the leg before has left; None = from noise alone."""
        import comfy.sample
        import comfy.samplers

        seed, model = leg.request.seed, conditions.model
        noise = comfy.sample.prepare_noise(conditions.samples, seed)
        if leg.request.structure is not None:
            guide = leg.request.guidance.structure
            model = apply_structure(model, leg.request.structure, guide, sigmas)
        if conditions.known is not None:
            model = _hold_known(model, conditions.known, noise, leg.request, sigmas)
        return comfy.sample.sample_custom(
            model,
            noise if latents is None else torch.zeros_like(noise),
            leg.request.guidance.text_strength,
            comfy.samplers.sampler_object(self._sampler),
            sigmas[leg.first : leg.last + 1],
            conditions.positive,
            conditions.negative,
            conditions.samples if latents is None else latents,
            noise_mask=conditions.noise_mask,
            callback=lambda step, denoised, *_: report(leg.first + step, denoised),
            disable_pbar=True,
            # Samplers that add noise of their own shall not add that of the first leg again.
            seed=seed + leg.first,
        )


def _hold_known(
    model: Any, known: Known, noise: Tensor, request: ClipRequest, sigmas: Float[Tensor, " level"]
) -> Any:
    """A clone of the model that blends known latents in around each of its evaluations.

    The host's own `noise_mask` does the same in most families; but in some it is a condition that
    the model was trained on, for latents without noise, and everywhere the model may look at it.
    """
    from comfy.patcher_extension import WrappersMP

    latents = model.model.process_latent_in(known.latents)
    guides = (
        (request.guidance.renders, known.rendered),
        (request.guidance.keyframes, known.captured),
    )

    def predict(
        executor: Any, x: Tensor, sigma: Tensor, model_options: dict[str, Any], seed: int | None
    ) -> Tensor:
        step = step_of(sigma, sigmas)
        active = [(guide.strength, where.to(x)) for guide, where in guides if guide.covers(*step)]
        sampling = executor.class_obj.inner_model.model_sampling
        clean, level = latents.to(x), sigma.reshape(-1, *[1] * (x.ndim - 1))
        noised = sampling.noise_scaling(level, noise.to(x), clean)
        for strength, where in active:
            x = blend_latents(x, noised, where, strength)
        denoised = executor(x, sigma, model_options, seed)
        for strength, where in active:
            denoised = blend_latents(denoised, clean, where, strength)
        return denoised

    held = model.clone()
    held.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, WRAPPER, predict)
    return held


def _report_steps(model: Any, steps: int, progress: Progress) -> Callable[[int, Tensor], None]:
    """For samplers' callbacks; raises, and so ends the sampler, where the user has cancelled."""
    import latent_preview

    task = progress.start("Denoising", steps)
    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

    def report(step: int, denoised: Tensor) -> None:
        preview: Preview | None = None
        if previewer is not None:
            preview = lambda: _picture(previewer, denoised)  # noqa: E731
        task.update(step + 1, preview)

    return report


def _picture(previewer: Any, latents: Tensor) -> Float[Tensor, "height width 3"]:
    picture = previewer.decode_latent_to_preview(latents)
    return torch.from_numpy(np.array(picture, dtype=np.float32) / 255)
