"""Video models of every family that the host knows, with tiny random weights."""

from typing import Any

import comfy.ldm.wan.uni3c
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models as families
import torch
from torch import Tensor, nn
from torch.nn import functional

WAN = {"image_model": "wan2.1", "dim": 256, "num_heads": 2, "ffn_dim": 256, "num_layers": 2}
WAN_SHAPE = {"freq_dim": 256, "qk_norm": True, "cross_attn_norm": True, "eps": 1e-6}
WAN_16 = WAN | WAN_SHAPE | {"patch_size": (1, 2, 2), "in_dim": 16, "out_dim": 16}


class ToyVae(nn.Module):
    """Block means as latents, blocks of one colour as pictures: exact, and soon done."""

    def __init__(self, time: int, space: int, channels: int) -> None:
        super().__init__()
        self.time, self.space, self.channels = time, space, channels
        self.unused = nn.Parameter(torch.zeros(1))
        self.decoded = torch.zeros(0)
        """The latents that were decoded last."""

    def encode(self, pixels: Tensor) -> Tensor:
        spatial = (self.space, self.space)
        if pixels.ndim == 4:
            return self._widened(functional.avg_pool2d(pixels, spatial))
        pooled = functional.avg_pool3d(pixels, (1, *spatial))
        first, rest = pooled[:, :, :1], pooled[:, :, 1:]
        parts = [
            first,
            *([functional.avg_pool3d(rest, (self.time, 1, 1))] if len(rest[0, 0]) else []),
        ]
        return self._widened(torch.cat(parts, dim=2))

    def decode(self, latents: Tensor) -> Tensor:
        self.decoded = latents
        colour = latents[:, :3]
        for dim in (-2, -1):
            colour = colour.repeat_interleave(self.space, dim)
        if latents.ndim == 4:
            return colour
        return torch.cat([colour[:, :, :1], colour[:, :, 1:].repeat_interleave(self.time, 2)], 2)

    def _widened(self, latents: Tensor) -> Tensor:
        shape = list(latents.shape)
        shape[1] = self.channels - shape[1]
        return torch.cat([latents, latents.new_zeros(shape)], dim=1)


class TinyVae(comfy.sd.VAE):
    """The host's VAE around the toy; the host makes its own only from files of full size."""

    def __init__(self, time: int | None, space: int, channels: int) -> None:
        self.first_stage_model = ToyVae(time or 1, space, channels)
        self.latent_channels, self.latent_dim = channels, 2 if time is None else 3
        if time is None:
            self.upscale_ratio = self.downscale_ratio = space
        else:
            self.upscale_ratio = (lambda a: max(0, a * time - time + 1), space, space)
            self.downscale_ratio = (lambda a: (a + time - 1) // time, space, space)
            self.downscale_index_formula = (time, space, space)
        self.process_input = lambda image: image * 2.0 - 1.0
        self.process_output = lambda image: image.add_(1.0).div_(2.0).clamp_(0.0, 1.0)
        self.memory_used_encode = self.memory_used_decode = lambda shape, dtype: 1e6
        self.output_channels, self.crop_input, self.not_video = 3, True, False
        self.disable_offload = self.handles_tiling = False
        self.pad_channel_value = self.extra_1d_channel = self.format_encoded = self.size = None
        self.device = comfy.model_management.vae_device()
        self.output_device = comfy.model_management.intermediate_device()
        self.vae_dtype = torch.float32
        self.working_dtypes = [torch.float32]
        offload = comfy.model_management.vae_offload_device()
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            self.first_stage_model, load_device=self.device, offload_device=offload
        )

    @property
    def decoded(self) -> Tensor:
        return self.first_stage_model.decoded


HUNYUAN = {
    **{"image_model": "hunyuan_video", "in_channels": 16, "out_channels": 16, "hidden_size": 256},
    **{"patch_size": [1, 2, 2], "axes_dim": [16, 56, 56], "vec_in_dim": 768, "num_heads": 2},
    **{"context_in_dim": 4096, "mlp_ratio": 2.0, "depth": 1, "depth_single_blocks": 1},
    **{"theta": 256, "qkv_bias": True, "guidance_embed": True, "byt5": False, "meanflow": False},
    **{"use_cond_type_embedding": False, "vision_in_dim": None, "meanflow_sum": False},
}
HUNYUAN_15 = {
    **{"in_channels": 65, "out_channels": 32, "patch_size": [1, 1, 1], "vec_in_dim": None},
    **{"guidance_embed": False, "vision_in_dim": 1152, "use_cond_type_embedding": True},
}
COGVIDEOX = {
    **{"image_model": "cogvideox", "num_attention_heads": 2, "attention_head_dim": 64},
    **{"num_layers": 1, "time_embed_dim": 64, "in_channels": 16, "text_embed_dim": 4096},
    **{"use_rotary_positional_embeddings": True},
}
COSMOS = {
    **{"max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16},
    **{"out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 256},
    **{"num_blocks": 1, "num_heads": 2, "concat_padding_mask": True, "pos_emb_cls": "rope3d"},
    **{"use_adaln_lora": True, "adaln_lora_dim": 32, "crossattn_emb_channels": 1024},
    **{"pos_emb_interpolation": "crop", "extra_per_block_abs_pos_emb": False},
}
COSMOS_1 = COSMOS | {
    **{"image_model": "cosmos", "block_x_format": "THWBD", "affline_emb_norm": True},
    **{"extra_per_block_abs_pos_emb": True, "extra_per_block_abs_pos_emb_type": "learnable"},
}
SVD = {
    **{"image_size": 32, "in_channels": 8, "out_channels": 4, "model_channels": 64},
    **{"num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [1, 1]},
    **{
        "transformer_depth_output": [1, 1, 1, 1],
        "transformer_depth_middle": 1,
        "num_head_channels": 32,
    },
    **{"context_dim": 1024, "adm_in_channels": 768, "use_linear_in_transformer": True},
    **{"num_classes": "sequential", "use_spatial_transformer": True, "legacy": False},
    **{"use_temporal_attention": True, "use_temporal_resblock": True, "merge_factor": 0.0},
    **{"merge_strategy": "learned_with_images", "video_kernel_size": [3, 1, 1]},
    **{"extra_ff_mix_layer": True, "use_spatial_context": True},
}
LTX = {
    **{"image_model": "ltxv", "num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 64},
    **{"cross_attention_dim": 128},
}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "wan-t2v": (families.WAN21_T2V, WAN_16 | {"model_type": "t2v"}),
    "wan-i2v": (families.WAN21_I2V, WAN_16 | {"model_type": "i2v", "in_dim": 36}),
    "wan-flf2v": (
        families.WAN21_I2V,
        WAN_16 | {"model_type": "i2v", "in_dim": 36, "flf_pos_embed_token_number": 514},
    ),
    "wan-vace": (
        families.WAN21_Vace,
        WAN_16 | {"model_type": "vace", "vace_layers": 1, "vace_in_dim": 96},
    ),
    "wan-ti2v": (families.WAN22_T2V, WAN_16 | {"model_type": "t2v", "in_dim": 48, "out_dim": 48}),
    "wan-camera": (families.WAN22_Camera, WAN_16 | {"model_type": "camera_2.2", "in_dim": 36}),
    "ltx": (families.LTXV, LTX),
    "hunyuan-t2v": (families.HunyuanVideo, HUNYUAN),
    "hunyuan-i2v": (families.HunyuanVideoI2V, HUNYUAN | {"in_channels": 33}),
    "hunyuan-1.5": (families.HunyuanVideo15, HUNYUAN | HUNYUAN_15),
    "cogvideox-t2v": (families.CogVideoX_T2V, COGVIDEOX),
    "cogvideox-i2v": (families.CogVideoX_I2V, COGVIDEOX | {"in_channels": 32}),
    "cosmos-t2v": (families.CosmosT2V, COSMOS_1),
    "cosmos-i2v": (families.CosmosI2V, COSMOS_1 | {"in_channels": 17}),
    "cosmos-predict2-i2v": (
        families.CosmosI2VPredict2,
        COSMOS | {"image_model": "cosmos_predict2", "in_channels": 17},
    ),
    "svd": (families.SVD_img2vid, SVD),
}
VAES: dict[str, tuple[int | None, int, int]] = {
    "wan-ti2v": (4, 16, 48),
    "wan": (4, 8, 16),
    "ltx": (8, 32, 128),
    "hunyuan-1.5": (4, 16, 32),
    "hunyuan": (4, 8, 16),
    "cogvideox": (4, 8, 16),
    "cosmos-predict2": (4, 8, 16),
    "cosmos": (8, 8, 16),
    "svd": (None, 8, 4),
}
"""By the beginning of a family's name: compression in time and space, channels."""


UNI3C = {
    **{"conv_out_dim": 256, "dim": 256, "ffn_dim": 256, "num_heads": 4, "num_layers": 1},
    **{"time_embed_dim": 256, "out_proj_dim": 256},
}
OPERATIONS: dict[str, Any] = {
    "device": "cpu",
    "dtype": torch.float32,
    "operations": comfy.ops.manual_cast,
}


def tiny_model(name: str, seed: int = 0) -> Any:
    """A MODEL of a family, with random weights of its own."""
    make_config, unet_config = MODELS[name]
    config = make_config(dict(unet_config))
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, device=torch.device("cpu"))
    fill_randomly(model, seed)
    return _managed(model.eval())


def tiny_uni3c() -> Any:
    """A MODEL_PATCH for Wan."""
    network = uni3c_network()
    fill_randomly(network)
    return _managed(network)


def uni3c_network() -> nn.Module:
    """Without weights."""
    return comfy.ldm.wan.uni3c.WanUni3CControlnet(**UNI3C, **OPERATIONS)


def _managed(network: nn.Module) -> Any:
    return comfy.model_patcher.CoreModelPatcher(
        network,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def tiny_vae(name: str) -> TinyVae:
    """The VAE whose latents a family takes."""
    return TinyVae(*next(shape for start, shape in VAES.items() if name.startswith(start)))


def fill_randomly(module: nn.Module, seed: int = 0) -> None:
    """The host leaves weights as the memory was, for a file to fill them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
