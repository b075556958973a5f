"""A MODEL of the host with a scene's structure in its attentions, for any sampler of the host.

Where the attentions of the host's networks lie is told here; how they read structure belongs to the
library. The adapter's weights are an additional model of the MODEL, so that the host loads, counts
and frees them with it.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..reconx.structure.adapter import attach, check_used
from ..reconx.structure.guidance import extrapolate
from ..reconx.structure.model import StructureCondition
from ..reconx.structure.sites import SiteRule, find_rule, find_sites
from ..reconx.video.base import Guide
from .runtime import manage

KEY = "reconx_structure"
"""Under which the host keeps the wrapper and the adapter of a MODEL."""

HOST_RULES: Mapping[str, SiteRule] = {
    "WanModel": SiteRule(
        family="wan", modules=(r"^blocks\.\d+\.cross_attn$",), query="norm_q", out="o"
    ),
    "LTXVModel": SiteRule(
        family="ltx", modules=(r"^transformer_blocks\.\d+\.attn2$",), query="q_norm", out="to_out.0"
    ),
    "HunyuanVideo": SiteRule(
        family="hunyuan",
        modules=(r"^double_blocks\.\d+\.img_attn$",),
        query="norm.query_norm",
        out="proj",
        layout="heads_first",
    ),
    "CogVideoXTransformer3DModel": SiteRule(
        family="cogvideox",
        modules=(r"^blocks\.\d+$",),
        query="norm_q",
        out="attn_out",
        layout="heads_last",
        text_first=True,
    ),
    "GeneralDIT": SiteRule(
        family="cosmos",
        modules=(r"^blocks\.block\d+\.blocks\.1\.block\.attn$",),
        query="to_q.1",
        out="to_out.0",
        layout="heads_first",
        sequence_first=True,
    ),
    "MiniTrainDIT": SiteRule(
        family="cosmos-predict2",
        modules=(r"^blocks\.\d+\.cross_attn$",),
        query="q_norm",
        out="output_proj",
        layout="heads_last",
    ),
    "UNetModel": SiteRule(
        family="svd",
        modules=tuple(
            rf"^{part}.*\.transformer_blocks\.\d+\.attn2$"
            for part in ("input_blocks", "middle_block", "output_blocks")
        ),
        query="to_q",
        out="to_out.0",
        mark=r"\.time_stack\.",
        frames_in_batch=True,
    ),
}
"""By the network's class in the host."""


def structure_family(model: Any) -> str:
    """The family of structure adapters that fit a MODEL, size permitting; "" = none do."""
    rule = find_rule(model.model.diffusion_model, HOST_RULES)
    return "" if rule is None else rule.family


def apply_structure(
    model: Any,
    condition: StructureCondition,
    guide: Guide,
    sigmas: Float[Tensor, " level"] | None = None,
) -> Any:
    """A clone of a MODEL that is guided by structure wherever it is asked with a prompt.

    A second structure takes the place of the first.

    Args:
        model: The host's MODEL.
        condition: Tokens, and the adapter that was trained for this model.
        guide: Strength and share of the steps, its end known. 0 gives the model unchanged.
        sigmas: The whole noise schedule, where a sampler is given a part of it alone; None = the
            sampler's own.

    Raises:
        BackboneMismatch: If the adapter was trained for another model.
    """
    from comfy.patcher_extension import WrappersMP

    condition.adapter.check_fit(find_sites(model.model.diffusion_model, HOST_RULES))
    applied = model.clone()
    if guide.strength == 0:
        return applied
    run = _Run(condition.tokens.tokens, guide, sigmas)
    applied.set_additional_models(KEY, [manage(condition.adapter).clone()])
    for kind, wrapper in (
        (WrappersMP.OUTER_SAMPLE, run.begin),
        (WrappersMP.APPLY_MODEL, run.predict),
    ):
        applied.remove_wrappers_with_key(kind, KEY)
        applied.add_wrapper_with_key(kind, KEY, wrapper)
    return applied


class _Run:
    """What wrappers around a sampler and around its model have to tell each other."""

    def __init__(
        self,
        tokens: Float[Tensor, "group token channel"],
        guide: Guide,
        sigmas: Float[Tensor, " level"] | None,
    ) -> None:
        self._tokens, self._guide, self._sigmas = tokens, guide, sigmas
        self._negative: frozenset[Any] = frozenset()
        self._prompt_first = True

    def begin(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """Remember which conditions are negative prompts: guiders ask in orders of their own."""
        import comfy.samplers

        guider = executor.class_obj
        negative = [conds for name, conds in guider.conds.items() if "negative" in name]
        self._negative = frozenset(cond["uuid"] for conds in negative for cond in conds)
        usual = comfy.samplers.CFGGuider.predict_noise
        self._prompt_first = type(guider).predict_noise is usual
        return executor(*args, **kwargs)

    def predict(
        self,
        executor: Any,
        x: Tensor,
        sigma: Tensor,
        c_concat: Any = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The model's prediction, guided where structure is read."""
        options = transformer_options or {}

        def plain() -> Tensor:
            return executor(x, sigma, c_concat, c_crossattn, control, options, **kwargs)

        rows = self._rows(options)
        schedule = options["sample_sigmas"] if self._sigmas is None else self._sigmas
        if not self._guide.covers(*step_of(sigma, schedule)) or not any(rows):
            return plain()
        base = executor.class_obj
        # Through the patcher: with several devices the host makes copies of both.
        (managed,) = base.current_patcher.get_additional_models_with_key(KEY)
        sites = find_sites(base.diffusion_model, HOST_RULES)
        with attach(managed.model, sites, self._tokens.to(x.device), rows=rows) as reading:
            guided = plain()
        # Such wrappers may skip the whole network, as EasyCache does.
        if not options.get("wrappers", {}).get("diffusion_model"):
            check_used(reading)
        strength = self._guide.strength
        return guided if strength == 1 else extrapolate(plain(), guided, strength)

    def _rows(self, options: Mapping[str, Any]) -> list[bool]:
        """Which parts of the batch are asked with a prompt."""
        numbers, conds = options["cond_or_uncond"], options["uuids"]
        return [
            cond not in self._negative and (number == 0 or not self._prompt_first)
            for number, cond in zip(numbers, conds, strict=True)
        ]


def step_of(sigma: Tensor, sigmas: Float[Tensor, " level"]) -> tuple[int, int]:
    """Which step of how many has a noise level; samplers of higher order also look in between."""
    reached = sigmas.to(sigma) >= sigma.amax() * (1 - 1e-6)
    return max(int(reached.sum()) - 1, 0), len(sigmas) - 1
