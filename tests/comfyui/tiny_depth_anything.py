"""Depth Anything 3 Small with random weights and a small head; the host's Python runs this.

python tiny_depth_anything.py FILE
"""

import sys

import torch
from safetensors.torch import save_file

target, sys.argv[1:] = sys.argv[1], ["--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.ops  # noqa: E402
from comfy.ldm.depth_anything_3.model import DepthAnything3Net  # noqa: E402

network = DepthAnything3Net(
    "vits",
    out_layers=(5, 7, 9, 11),
    alt_start=4,
    qknorm_start=4,
    rope_start=4,
    cat_token=True,
    head_type="dualdpt",
    head_dim_in=768,
    head_output_dim=2,
    head_features=32,
    head_out_channels=(16, 16, 16, 16),
    has_cam_dec=True,
    device="cpu",
    dtype=torch.float32,
    operations=comfy.ops.disable_weight_init,
)
generator = torch.Generator().manual_seed(0)
weights = {
    name: torch.ones_like(tensor)
    if name.endswith("norm.weight")
    else 0.02 * torch.randn(tensor.shape, generator=generator)
    for name, tensor in network.state_dict().items()
}
weights["cam_dec.fc_qvec.bias"] = torch.tensor([0.0, 0.0, 0.0, 1.0])
weights["cam_dec.fc_fov.0.bias"] = torch.tensor([0.8, 1.0])
save_file({name: tensor.half() for name, tensor in weights.items()}, target)
