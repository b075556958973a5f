"""Write the official network's answers down, for `test_network.py`.

Run `python tests/geometry/dust3r/make_official.py PATH` with PATH a checkout of
github.com/naver/dust3r with its submodule croco, and its packages (einops, huggingface_hub) in
reach. Nothing of it comes along: its licence is not this project's.
"""

import argparse
import re
import sys
from math import inf
from pathlib import Path

import torch
from conftest import CONFIGS, SIZES, fill, two_photos
from safetensors.torch import save_file
from torch import Tensor


def official_answers(kind: str, images: Tensor) -> dict[str, Tensor]:
    """Pointmaps and confidence of two photos as one pair."""
    from dust3r.model import AsymmetricCroCo3DStereo  # pyright: ignore[reportMissingImports]

    config = CONFIGS[kind]
    network = AsymmetricCroCo3DStereo(
        pos_embed="RoPE100",
        img_size=(512, 512),
        head_type=kind,
        depth_mode=("exp", -inf, inf),
        conf_mode=("exp", 1, inf),
        enc_embed_dim=config.encoder_width,
        enc_depth=config.encoder_depth,
        enc_num_heads=config.encoder_width // 64,
        dec_embed_dim=config.decoder_width,
        dec_depth=config.decoder_depth,
        dec_num_heads=config.decoder_width // 64,
        landscape_only=False,
    ).eval()
    for name, tensor in network.state_dict().items():
        # A layer with two names is filled under the first.
        name = re.sub(r"layer_rn\.(\d)", lambda n: f"layer{int(n[1]) + 1}_rn", name)
        tensor.copy_(fill(name, tuple(tensor.shape)))
    views = [
        {
            "img": 2 * image[None].permute(0, 3, 1, 2) - 1,
            "true_shape": torch.tensor([image.shape[:2]]),
            "instance": [str(place)],
        }
        for place, image in enumerate(images)
    ]
    with torch.no_grad():
        one, two = network(*views)
    answers = {
        "points_i": one["pts3d"],
        "points_j": two["pts3d_in_other_view"],
        "confidence_i": one["conf"],
        "confidence_j": two["conf"],
    }
    return {name: answer[0].contiguous() for name, answer in answers.items()}


def main() -> None:
    """Both heads, both orientations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    sys.path.insert(0, str(parser.parse_args().checkout))
    torch.set_num_threads(1)
    found = {
        f"{kind}.{height}x{width}.{name}": answer
        for kind in CONFIGS
        for height, width in SIZES.values()
        for name, answer in official_answers(kind, two_photos(height, width)).items()
    }
    save_file(found, Path(__file__).with_name("official.safetensors"))


if __name__ == "__main__":
    main()
