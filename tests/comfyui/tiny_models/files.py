"""Checkpoints with tiny random weights, under the names that the shipped workflows ask for.

python files.py FOLDER --cpu      with ComfyUI's Python, in ComfyUI's folder
"""

import sys
from pathlib import Path

import comfy.ldm.wan.model as wan
import comfy.ldm.wan.vae as wan_vae
from safetensors.torch import save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_models.models import OPERATIONS, WAN_16, fill_randomly, uni3c_network  # noqa: E402

NETWORKS = {
    "wan2.1_vace_1.3B_fp16": (wan.VaceWanModel, {"vace_layers": 1, "vace_in_dim": 96}),
    "wan2.1_flf2v_720p_14B_fp8_e4m3fn": (
        wan.WanModel,
        {"model_type": "i2v", "in_dim": 36, "flf_pos_embed_token_number": 514},
    ),
    "wan2.1_i2v_480p_14B_fp8_e4m3fn": (wan.WanModel, {"model_type": "i2v", "in_dim": 36}),
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
    _save(uni3c_network(), models / "model_patches" / "Wan21_Uni3C_controlnet_fp16.safetensors")


def _save(network: nn.Module, path: Path) -> None:
    fill_randomly(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.contiguous().clone() for name, weight in network.state_dict().items()}
    save_file(weights, path)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
