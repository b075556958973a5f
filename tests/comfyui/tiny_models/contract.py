"""The contract of video backbones, checked in the host's own process for one family after another.

The pack is loaded as the host loads it, under another name than tests know the library by; so the
tests' imports of `reconx` are led to the pack's.
"""

import importlib
import importlib.abc
import importlib.machinery
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import comfy.model_management as management
import torch

from .models import MODELS, tiny_model, tiny_uni3c, tiny_vae

BESIDE = ("wan-i2v+uni3c", "wan-t2v+experts", "wan-vace+experts")
"""Families with another model beside the first."""


class Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports `reconx...` as the pack's library."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] == "reconx":
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        return importlib.import_module(f"reconx_pack.{spec.name}")

    def exec_module(self, module: ModuleType) -> None:
        pass


class TinyVision:
    """Answers as CLIP vision models do, with numbers that tell pictures apart."""

    def encode_image(self, image: torch.Tensor, crop: bool = True) -> SimpleNamespace:
        level = image.mean()
        return SimpleNamespace(
            image_embeds=torch.full((len(image), 1024), float(level)),
            penultimate_hidden_states=torch.full((1, 257, 1280), float(level)),
            last_hidden_state=torch.full((1, 729, 1152), float(level)),
        )


def conditioning(name: str, seed: int) -> list[list[Any]]:
    """What a family's text encoder would give for a prompt of eight tokens."""
    generator = torch.Generator().manual_seed(seed)
    width = 1024 if name.startswith(("cosmos", "svd")) else 4096
    values = {"pooled_output": torch.randn(1, 768, generator=generator)}
    if name == "ltx":
        values["attention_mask"] = torch.ones(1, 8, dtype=torch.long)
    return [[torch.randn(1, 8, width, generator=generator), values]]


def tiny_backbone(name: str, **changes: Any) -> Any:
    """A backbone of a family, `+uni3c` or `+experts`; changes are of what is connected."""
    sampling = importlib.import_module("reconx_pack.nodes.sampling")
    conditions = importlib.import_module("reconx_pack.nodes.conditions")
    name, _, beside = name.partition("+")
    sees = name in ("wan-flf2v", "wan-i2v", "hunyuan-1.5", "svd")
    models = conditions.HostModels(
        tiny_model(name),
        tiny_vae(name),
        conditioning(name, seed=0),
        conditioning(name, seed=1),
        TinyVision() if sees else None,
        tiny_uni3c() if beside == "uni3c" else None,
        tiny_model(name, seed=1) if beside == "experts" else None,
    )
    return sampling.HostBackbone(models._replace(**changes), "euler", "simple")


def failures(name: str, scene: Any) -> list[str]:
    """What a family does not keep of the contract."""
    from backbone_contract import CHECKS

    raised = [_raised(partial(check, tiny_backbone(name), scene)) for check in CHECKS]
    return [failure for found in raised for failure in found]


def broken_promises(scene: Any, names: list[str]) -> dict[str, list[str]]:
    """What fails, by family; all families but one that is refused where none are named."""
    torch.set_num_threads(1)
    names = names or [*(name for name in MODELS if name != "wan-camera"), *BESIDE]
    return {name: failures(name, scene) for name in names}


def broken_structure(scene: Any, names: list[str]) -> dict[str, list[str]]:
    """What fails of the structure condition, by family."""
    from structure_contract import STRUCTURE_CHECKS

    torch.set_num_threads(1)

    def check_all(name: str) -> list[str]:
        backbone = tiny_backbone(name)
        raised = [
            _raised(partial(check, backbone, scene, structure_for)) for check in STRUCTURE_CHECKS
        ]
        return [failure for found in raised for failure in found]

    return {
        name: check_all(name)
        for name in names or [*(name for name in MODELS if name != "wan-camera"), "wan-t2v+experts"]
    }


def rows_that_read_structure(scene: Any, names: list[str]) -> dict[str, list[bool]]:
    """Whether structure changes what the model says with a prompt, and without, in the first step.

    By the usual guider, which asks with the prompt first, and by one of two prompts, which asks
    without one first.
    """
    import comfy.samplers
    from backbone_contract import request_for
    from comfy.patcher_extension import WrappersMP

    adapting = importlib.import_module("reconx_pack.nodes.adapting")
    custom = importlib.import_module("comfy_extras.nodes_custom_sampler")
    guide = importlib.import_module("reconx.video.base").Guide(end=1.0)
    torch.set_num_threads(1)

    def said(name: str, guider_of: Callable[[Any], Any], structured: bool) -> dict[Any, Any]:
        """What the model answers to each condition in the first step."""
        backbone = tiny_backbone(name)
        answers: dict[Any, Any] = {}
        names: dict[Any, str] = {}

        def begin(executor: Any, *args: Any, **kwargs: Any) -> Any:
            conds = executor.class_obj.conds
            names.update({cond["uuid"]: key for key in conds for cond in conds[key]})
            return executor(*args, **kwargs)

        def answer(executor: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
            made = executor(x, *args, **kwargs)
            options = next(arg for arg in args if isinstance(arg, dict) and "uuids" in arg)
            parts = made.chunk(len(options["uuids"]))
            for cond, part in zip(options["uuids"], parts, strict=True):
                answers.setdefault(names[cond], part.clone())
            return made

        model = backbone._models.model.clone()
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "spy", begin)
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "spy", answer)
        if structured:
            structure = structure_for(backbone, 1.0)
            condition = structure.condition(scene, scene.cameras[0])
            model = adapting.apply_structure(model, condition, guide)
        request = request_for(backbone, scene)
        conditions = backbone._family.prepare(backbone._models, request)
        guider = guider_of(model)
        guider.set_conds(*_prompts(guider, conditions))
        with torch.inference_mode():
            noise = torch.randn(conditions.samples.shape, generator=torch.manual_seed(0))
            sampler = comfy.samplers.sampler_object("euler")
            guider.sample(noise, conditions.samples, sampler, backbone._noise_levels(request))
        return answers

    def usual(model: Any) -> Any:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_cfg(3.0)
        return guider

    def of_two(model: Any) -> Any:
        guider = custom.Guider_DualCFG(model)
        guider.set_cfg(3.0, 2.0)
        return guider

    found = {}
    for name in names:
        for label, make in (("usual", usual), ("of two", of_two)):
            plain, guided = (said(name, make, structured) for structured in (False, True))
            found[f"{name}, {label}"] = {
                key: not torch.equal(plain[key], guided[key]) for key in plain
            }
    return found


def _prompts(guider: Any, conditions: Any) -> tuple[Any, ...]:
    """As many as a guider takes."""
    if hasattr(guider, "cfg2"):
        return conditions.positive, conditions.positive, conditions.negative
    return conditions.positive, conditions.negative


def structure_for(backbone: Any, gate: float) -> Any:
    """A structure model that fits a backbone."""
    from tiny_structure import tiny_structure

    adapting = importlib.import_module("reconx_pack.nodes.adapting")
    sites = importlib.import_module("reconx.structure.sites")
    network = backbone._models.model.model.diffusion_model
    widths = [site.width for site in sites.find_sites(network, adapting.HOST_RULES)]
    return tiny_structure(backbone.spec.structure_family, widths, gate=gate)


def unheld_latents(scene: Any, names: list[str]) -> dict[str, list[str]]:
    """Families whose latents are not as encoded where pixels are known."""
    from backbone_contract import DenoisedLatents, Recorder, check_known_latents

    from reconx.video.conditions import make_control_video
    from reconx.video.latents import known_latents

    def check(name: str) -> None:
        vae = tiny_vae(name)
        time, space = vae.temporal_compression_decode(), vae.spacial_compression_encode()

        def denoise(backbone: Any, request: Any) -> DenoisedLatents:
            backbone.generate_clip(request, Recorder())
            video = make_control_video(request)
            known = known_latents(video.known, time_stride=time or 1, space_stride=space)
            known = known[:, None] if time is None else known[None, None]
            return DenoisedLatents(vae.decoded, vae.encode(video.frames), known)

        check_known_latents(tiny_backbone(name, vae=vae), scene, denoise)

    return {name: _raised(partial(check, name)) for name in names}


class Watcher:
    """What a model is given at each step, by wrappers around its network."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, torch.Tensor]] = []
        """Which model, and what it is told beside the latents."""

    def watch(self, model: Any, name: str) -> Any:
        """A clone of the model that is watched under a name."""
        from comfy.patcher_extension import WrappersMP

        def forward(executor: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            *_, options = args
            patches = options.get("patches", {}).get("double_block", [])
            told = [kwargs.get("vace_context"), x[:, 16:], *(p.render_video for p in patches)]
            told = [part.flatten() for part in told if part is not None]
            self.seen.append((name, torch.cat(told)))
            return executor(x, *args, **kwargs)

        watched = model.clone()
        watched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "watcher", forward)
        return watched


FOUR = {"steps": 4}
"""Steps of which Wan, at its shift of 8, begins at noise levels of 1, 0.96, 0.89 and 0.73."""


def steps_of_experts(scene: Any, names: list[str]) -> dict[str, list[str]]:
    """Which of two experts takes each of four steps."""
    from backbone_contract import generate, request_for

    def experts(name: str) -> list[str]:
        watcher = Watcher()
        high, low = (watcher.watch(tiny_model(name), expert) for expert in ("high", "low"))
        backbone = tiny_backbone(name, model=high, low_noise_model=low)
        guidance = request_for(backbone, scene).guidance
        generate(
            backbone,
            request_for(backbone, scene, guidance=replace(guidance, text_strength=1.0), **FOUR),
        )
        return [expert for expert, _ in watcher.seen]

    return {name: experts(name) for name in names}


def steps_with_renders(scene: Any, names: list[str]) -> dict[str, list[bool]]:
    """Whether each of four steps is told of the renders, which guide the two in the middle."""
    from backbone_contract import generate, request_for

    from reconx.render.edits import edit_renders
    from reconx.video.base import GuidanceOptions, Guide
    from reconx.video.guidance import check_guidance

    def told(name: str) -> list[bool]:
        watcher = Watcher()
        family, _, _ = name.partition("+")
        backbone = tiny_backbone(name, model=watcher.watch(tiny_model(family), name))
        asked = GuidanceOptions(text_strength=1.0, renders=Guide(start=0.25, end=0.75))
        guidance = check_guidance(backbone.spec, asked)
        plain = request_for(backbone, scene, guidance=guidance, **FOUR)
        renders = plain.renders
        painted = replace(plain, renders=edit_renders(renders, 1 - renders.colour))
        for request in (plain, painted):
            generate(backbone, request)
        first, second = watcher.seen[:4], watcher.seen[4:]
        return [not torch.equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True)]

    return {name: told(name) for name in names}


def most_in_memory(scene: Any, names: list[str]) -> dict[str, float]:
    """The most that lies loaded while two backbones make a clip in turn, in sizes of one network.

    The host unloads nothing to make room on its CPU, which is also where unloaded models lie. So
    the CPU is shown to it as another device, of little memory.
    """
    from backbone_contract import Recorder, generate, request_for

    device = torch.device("cpu", 0)

    def loaded() -> int:
        held = management.current_loaded_models
        return sum(one.model_loaded_memory() for one in held if one.device == device)

    class Scales(Recorder):
        most = 0

        def update(self, done: int, preview: Any = None) -> None:
            self.most = max(self.most, loaded())

    def most(networks: float) -> float:
        management.unload_all_models()
        backbones = [tiny_backbone(name) for name in names]
        size = max(backbone._models.model.model_size() for backbone in backbones)
        memory = management.minimum_inference_memory() + networks * size

        def free(device: Any = None, torch_free_too: bool = False) -> Any:
            left = memory - loaded()
            return (left, left) if torch_free_too else left

        management.get_free_memory = free
        scales = Scales()
        for backbone in backbones:
            generate(backbone, request_for(backbone, scene), scales)
        return scales.most / size

    management.get_torch_device = lambda: device
    return {"room for one": most(1.2), "room for both": most(2.4)}


def refusals(scene: Any, names: list[str]) -> dict[str, list[str]]:
    """What is said of models that do not go."""
    svd = tiny_vae("svd")
    wrong = {
        "wan-camera": partial(tiny_backbone, "wan-camera", vae=tiny_vae("wan-t2v")),
        "no vae": partial(tiny_backbone, "wan-t2v", vae=None),
        "vae of another model": partial(tiny_backbone, "wan-t2v", vae=tiny_vae("ltx")),
        "svd without vision": partial(tiny_backbone, "svd", vae=svd, clip_vision=None),
        "expert of ltx": partial(tiny_backbone, "ltx", low_noise_model=tiny_model("ltx")),
        "experts of two": partial(tiny_backbone, "wan-t2v", low_noise_model=tiny_model("wan-i2v")),
    }
    return {name: _raised(make) for name, make in wrong.items()}


def _raised(call: Callable[[], Any]) -> list[str]:
    try:
        call()
    except Exception:
        return [traceback.format_exc(limit=-3)]
    return []
