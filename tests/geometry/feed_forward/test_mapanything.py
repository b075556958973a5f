"""MapAnything's own package, small, with random weights."""

import json
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_model

from reconx.geometry.feed_forward.mapanything import (
    _no_downloads,
    load_mapanything,
    read_mapanything,
)
from reconx.ops.projection import camera_rays
from reconx.types import Cameras

ANY = {"vmin": -inf, "vmax": inf}


def limits(prefix: str, mode: str = "linear") -> dict[str, Any]:
    return {f"{prefix}_{name}": value for name, value in {**ANY, "mode": mode}.items()}


def tiny_config() -> dict[str, Any]:
    """The layout of the published networks, with a small encoder and two narrow blocks."""
    name = "raydirs+depth+pose+confidence+mask+scale"
    dense = {"name": "dense", "in_chans": 3, "encoder_str": "dense_rep_encoder", "apply_pe": False}
    whole = {"name": "whole", "in_chans": 3, "encoder_str": "global_rep_encoder"}
    return {
        "name": "tiny",
        "encoder_config": {
            "encoder_str": "dinov2",
            "name": "dinov2_small",
            "data_norm_type": "dinov2",
            "size": "small",
            "uses_torch_hub": True,
            "norm_returned_features": False,
            "keep_first_n_layers": 1,
        },
        "info_sharing_config": {
            "model_type": "alternating_attention",
            "model_return_type": "intermediate_features",
            "custom_positional_encoding": None,
            "module_args": {
                "name": "tiny",
                "indices": [0, 1],
                "norm_intermediate": True,
                "depth": 2,
                "distinguish_ref_and_non_ref_views": True,
                "dim": 64,
                "num_heads": 2,
            },
        },
        "pred_head_config": {
            "type": "dpt+pose",
            "feature_head": {"feature_dim": 16, "hooks": [0, 1, 2, 3]},
            "regressor_head": {"output_dim": 6},
            "pose_head": {"num_resconv_block": 1, "rot_representation_dim": 4},
            "scale_head": {"output_dim": 1},
            "adaptor_type": "raydirs+depth+pose+confidence+mask",
            "dpt_adaptor": {
                "name": name,
                **limits("ray_directions"),
                "ray_directions_normalize_to_unit_sphere": True,
                "ray_directions_normalize_to_unit_image_plane": False,
                "ray_directions_clamp_min_of_z_dir": False,
                "ray_directions_z_dir_min": -inf,
                **limits("depth", "exp"),
                "depth_vmin": 0,
                "confidence_type": "exp",
                "confidence_vmin": 1,
                "confidence_vmax": inf,
            },
            "pose_adaptor": {
                "name": name,
                **limits("cam_trans"),
                **limits("quaternions"),
                "quaternions_normalize": True,
            },
            "scale_adaptor": {"name": name, "mode": "exp", "vmin": 1e-8, "vmax": inf},
        },
        "geometric_input_config": {
            "ray_dirs_encoder_config": dense,
            "depth_encoder_config": {**dense, "in_chans": 1},
            "cam_rot_encoder_config": {**whole, "in_chans": 4},
            "cam_trans_encoder_config": whole,
            "scale_encoder_config": {**whole, "in_chans": 1},
            **dict.fromkeys(
                (
                    "overall_prob",
                    "ray_dirs_prob",
                    "depth_prob",
                    "cam_prob",
                    "sparse_depth_prob",
                    "sparsification_removal_percent",
                    "depth_scale_norm_all_prob",
                    "pose_scale_norm_all_prob",
                ),
                0,
            ),
            "dropout_prob": 1,
        },
        "use_register_tokens_from_encoder": True,
        "info_sharing_mlp_layer_str": "swiglufused",
    }


def test_the_package_answers_as_it_is_read(tmp_path: Path) -> None:
    package = pytest.importorskip(
        "mapanything.models.mapanything", reason="MapAnything's package is not installed"
    )
    torch.manual_seed(3)
    with _no_downloads():
        network = package.MapAnything(**tiny_config())
    # As the hub's own mixin saves it: a tensor of two names once.
    save_model(network, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps(tiny_config()), encoding="utf-8")
    model = load_mapanything(tmp_path / "model.safetensors")
    images = torch.rand(3, 70, 98, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answer = {
            name: part[0] for name, part in model.network(images.permute(0, 3, 1, 2)[None]).items()
        }
    assert answer["depth_z"].shape == (3, 70, 98, 1)
    assert float(answer["conf"].min()) >= 1
    assert not answer["camera_poses"].is_inference()
    # Of random weights nothing can be seen, and through no camera: one takes their place.
    from mapanything.utils.geometry import (  # pyright: ignore[reportMissingImports]
        recover_pinhole_intrinsics_from_ray_directions,
    )

    K = torch.tensor([[80.0, 0, 47], [0, 84, 36], [0, 0, 1]]).expand(3, 3, 3)
    camera = Cameras(camera_to_world=answer["camera_poses"], K=K, width=98, height=70)
    answer["intrinsics"] = recover_pinhole_intrinsics_from_ray_directions(camera_rays(camera))
    answer["non_ambiguous_mask"] = torch.ones(3, 70, 98, dtype=torch.bool)
    given = read_mapanything(answer)
    assert given.K is not None
    torch.testing.assert_close(given.K, K, atol=0.01, rtol=0)
    assert torch.equal(given.depth, answer["depth_z"][..., 0])
    assert given.camera_to_world is answer["camera_poses"]
