"""Pipelines of diffusers with tiny random weights; needs diffusers and transformers alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

T5 = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 4, "vocab_size": 16}
CLIP = {
    "hidden_size": 32,
    "projection_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "out_channels": 16,
    "text_dim": 32,
    "ffn_dim": 32,
    "rope_max_seq_len": 32,
}


def write_pipeline(name: str, folder: Path) -> None:
    """Lay a pipeline out on disk as its makers do."""
    torch.manual_seed(0)
    PIPELINES[name]().save_pretrained(folder)


def wan_flf2v() -> Any:
    import diffusers as d
    import transformers as t

    return d.WanImageToVideoPipeline(
        **wan_parts(),
        image_processor=t.CLIPImageProcessor(size=32, crop_size=32),
        image_encoder=t.CLIPVisionModel(t.CLIPVisionConfig(**CLIP, image_size=32, patch_size=8)),
        transformer=d.WanTransformer3DModel(
            **WAN, num_layers=1, in_channels=36, image_dim=32, pos_embed_seq_len=34
        ),
    )


def wan_two_experts() -> Any:
    import diffusers as d

    def expert() -> Any:
        return d.WanTransformer3DModel(**WAN, num_layers=1, in_channels=36)

    return d.WanImageToVideoPipeline(
        **wan_parts(), transformer=expert(), transformer_2=expert(), boundary_ratio=0.9
    )


def wan_vace() -> Any:
    import diffusers as d

    return d.WanVACEPipeline(
        **wan_parts(),
        transformer=d.WanVACETransformer3DModel(
            **WAN, num_layers=2, in_channels=16, vace_layers=[0], vace_in_channels=96
        ),
    )


def wan_parts() -> dict[str, Any]:
    import diffusers as d
    import transformers as t

    return {
        "tokenizer": tokenizer(),
        "text_encoder": t.UMT5EncoderModel(t.UMT5Config(**T5)),
        "vae": d.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        "scheduler": d.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    }


def ltx() -> Any:
    import diffusers as d
    import transformers as t

    thrice = (True, True, True, False)
    return d.LTXConditionPipeline(
        tokenizer=tokenizer(),
        text_encoder=t.T5EncoderModel(t.T5Config(**T5)),
        scheduler=d.FlowMatchEulerDiscreteScheduler(),
        vae=d.AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=thrice,
            decoder_spatio_temporal_scaling=thrice,
        ),
        transformer=d.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=32,
            num_layers=1,
            caption_channels=32,
        ),
    )


def cogvideox(patch_size_t: int | None = None) -> Any:
    import diffusers as d
    import transformers as t

    four = ("CogVideoX{}Block3D",) * 4
    return d.CogVideoXImageToVideoPipeline(
        tokenizer=tokenizer(),
        text_encoder=t.T5EncoderModel(t.T5Config(**T5)),
        scheduler=d.CogVideoXDDIMScheduler(
            rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction"
        ),
        vae=d.AutoencoderKLCogVideoX(
            down_block_types=tuple(kind.format("Down") for kind in four),
            up_block_types=tuple(kind.format("Up") for kind in four),
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
        ),
        transformer=d.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=8,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=32,
            num_layers=1,
            sample_width=8,
            sample_height=6,
            patch_size_t=patch_size_t,
            patch_bias=patch_size_t is None,
            max_text_seq_length=226,
            use_rotary_positional_embeddings=True,
        ),
    )


def svd() -> Any:
    import diffusers as d
    import transformers as t

    return d.StableVideoDiffusionPipeline(
        image_encoder=t.CLIPVisionModelWithProjection(
            t.CLIPVisionConfig(**CLIP, image_size=224, patch_size=56)
        ),
        feature_extractor=t.CLIPImageProcessor(size=224, crop_size=224),
        scheduler=d.EulerDiscreteScheduler(
            prediction_type="v_prediction",
            sigma_min=0.002,
            sigma_max=700,
            timestep_type="continuous",
            use_karras_sigmas=True,
        ),
        vae=d.AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * 4,
            block_out_channels=(32, 32, 32, 32),
            latent_channels=4,
        ),
        unet=d.UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=1,
            cross_attention_dim=32,
            num_attention_heads=(2, 2, 2, 2),
            projection_class_embeddings_input_dim=24,
            addition_time_embed_dim=8,
        ),
    )


def tokenizer() -> Any:
    import transformers as t
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return t.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


PIPELINES: dict[str, Callable[[], Any]] = {
    "wan-flf2v": wan_flf2v,
    "wan-2.2": wan_two_experts,
    "wan-vace": wan_vace,
    "ltx": ltx,
    "cogvideox": cogvideox,
    "cogvideox-1.5": lambda: cogvideox(patch_size_t=2),
    "svd": svd,
}
