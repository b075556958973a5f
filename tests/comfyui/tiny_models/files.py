"""Checkpoints with tiny random weights, under the names that the shipped workflows ask for.

python files.py FOLDER --cpu      with ComfyUI's Python, in ComfyUI's folder
"""

import sys
from pathlib import Path
from typing import Any

import comfy.ldm.wan.model as wan
import comfy.ldm.wan.uni3c as uni3c
import comfy.ldm.wan.vae as wan_vae
import comfy.ops
import torch
from safetensors.torch import save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_models.models import WAN_16, fill_randomly  # noqa: E402

OPERATIONS: dict[str, Any] = {
    "device": "cpu",
    "dtype": torch.float32,
    "operations": comfy.ops.manual_cast,
}
NETWORKS = {
    "wan2.1_vace_1.3B_fp16": (wan.VaceWanModel, {"vace_layers": 1, "vace_in_dim": 96}),
    "wan2.1_flf2v_720p_14B_fp8_e4m3fn": (
        wan.WanModel,
        {"model_type": "i2v", "in_dim": 36, "flf_pos_embed_token_number": 514},
    ),
    "wan2.1_i2v_480p_14B_fp8_e4m3fn": (wan.WanModel, {"model_type": "i2v", "in_dim": 36}),
}
UNI3C = {
    **{"conv_out_dim": 256, "dim": 256, "ffn_dim": 256, "num_heads": 4, "num_layers": 1},
    **{"time_embed_dim": 256, "out_proj_dim": 256},
}


def write_all(models: Path) -> None:
    """Write every file below the host's folder of models."""
    for name, (make, changes) in NETWORKS.items():
        config = {key: value for key, value in (WAN_16 | changes).items() if key != "patch_size"}
        _save(make(**config, **OPERATIONS), models / "diffusion_models" / f"{name}.safetensors")
    vae = wan_vae.WanVAE(
        dim=8,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    )
    _save(vae, models / "vae" / "wan_2.1_vae.safetensors")
    patch = uni3c.WanUni3CControlnet(**UNI3C, **OPERATIONS)
    _save(patch, models / "model_patches" / "Wan21_Uni3C_controlnet_fp16.safetensors")


def _save(network: nn.Module, path: Path) -> None:
    fill_randomly(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.contiguous().clone() for name, weight in network.state_dict().items()}
    save_file(weights, path)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
