"""A MODEL of the host with a scene's structure in its attentions, for any sampler of the host.

Where the attentions of the host's networks lie is told here; how they read structure belongs to the
library. The adapter's weights are an additional model of the MODEL, so that the host loads, counts
and frees them with it.
"""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..reconx.structure.adapter import attach
from ..reconx.structure.guidance import guided_prediction
from ..reconx.structure.model import StructureCondition
from ..reconx.structure.sites import SiteRule, find_sites, rule_of
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
        frames_in_batch=True,
    ),
}
"""By the network's class in the host."""


def structure_family(model: Any) -> str:
    """The family of structure adapters that fit a MODEL, size permitting.

    Raises:
        BackboneMismatch: If structure cannot be given to it.
    """
    return rule_of(model.model.diffusion_model, HOST_RULES).family


def apply_structure(
    model: Any,
    condition: StructureCondition,
    guide: Guide,
    sigmas: Float[Tensor, " level"] | None = None,
) -> Any:
    """A clone of a MODEL that is guided by structure where it is asked with the prompt.

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
    applied.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    applied.remove_additional_models(KEY)
    if guide.strength == 0:
        return applied
    applied.set_additional_models(KEY, [manage(condition.adapter)])
    tokens = condition.tokens.tokens

    def predict(
        executor: Any,
        x: Tensor,
        sigma: Tensor,
        c_concat: Any = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        options = transformer_options or {}

        def plain() -> Tensor:
            return executor(x, sigma, c_concat, c_crossattn, control, options, **kwargs)

        # 0 stands for the prompt, 1 for the negative one.
        rows = [number == 0 for number in options["cond_or_uncond"]]
        schedule = options["sample_sigmas"] if sigmas is None else sigmas
        if not guide.covers(*step_of(sigma, schedule)) or not any(rows):
            return plain()
        base = executor.class_obj
        # Through the patcher: with several devices the host makes copies of both.
        (managed,) = base.current_patcher.get_additional_models_with_key(KEY)
        sites = find_sites(base.diffusion_model, HOST_RULES)
        given = tokens.to(x.device)
        return guided_prediction(
            plain, lambda: attach(managed.model, sites, given, rows=rows), guide.strength
        )

    applied.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, predict)
    return applied


def step_of(sigma: Tensor, sigmas: Float[Tensor, " level"]) -> tuple[int, int]:
    """Which step of how many has a noise level; samplers of higher order also look in between."""
    reached = sigmas.to(sigma) >= sigma.amax() * (1 - 1e-6)
    return max(int(reached.sum()) - 1, 0), len(sigmas) - 1
