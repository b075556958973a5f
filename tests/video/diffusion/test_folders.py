"""What can be wrong with the files of a model, said before any work."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backbone_contract import generate, request_for

from reconx.errors import BackboneMismatch, InputError, UnsafeCheckpoint, WeightsNotFound
from reconx.types import Scene
from reconx.video.base import VideoBackbone
from reconx.video.model_options import ModelOptions, ModelSpec
from reconx.video.registry import BACKBONES, make_backbone

# diffusers 0.42 gives numpy tensors in the way of numpy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Build = Callable[..., VideoBackbone]
Copy = Callable[..., Path]
LOADED = "diffusion_pytorch_model.safetensors"


def test_a_model_folder_is_asked_for(build: Build) -> None:
    with pytest.raises(InputError, match=r"needs a model folder\. Download Lightricks/LTX-Video"):
        make_backbone("ltx")
    with pytest.raises(InputError, match="'warp' takes no model"):
        build("warp", Path())


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="Dtype 'fp8' is unknown"):
        ModelOptions(folder=Path(), dtype="fp8")
    with pytest.raises(InputError, match="Offload 'some' is unknown"):
        ModelOptions(folder=Path(), offload="some")


def test_no_folder(build: Build, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match="gone' is not there"):
        build("ltx", tmp_path / "gone")


def test_no_index(build: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model_index\.json"):
        build("ltx", tmp_path)


def test_a_broken_index(build: Build, copy: Copy) -> None:
    folder = copy("ltx")
    (folder / "model_index.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"model_index\.json' cannot be read"):
        build("ltx", folder)


def test_another_architecture(build: Build, shelf: Callable[[str], Path]) -> None:
    text = (
        "Backbone 'ltx' runs a LTXVideoTransformer3DModel, and .* holds a WanVACEPipeline with "
        "WanVACETransformer3DModel"
    )
    with pytest.raises(BackboneMismatch, match=text):
        build("ltx", shelf("wan-vace"))


def test_a_missing_vae(build: Build, copy: Copy) -> None:
    folder = copy("cogvideox")
    shutil.rmtree(folder / "vae")
    with pytest.raises(WeightsNotFound, match=r"lacks its 'vae' \(AutoencoderKLCogVideoX\)"):
        build("cogvideox", folder)


def test_missing_weights(build: Build, copy: Copy) -> None:
    folder = copy("svd")
    (folder / "unet" / LOADED).unlink()
    with pytest.raises(WeightsNotFound, match=r"unet' holds no weights"):
        build("svd", folder)


def test_a_missing_shard(build: Build, copy: Copy) -> None:
    folder = copy("ltx")
    index = {"weight_map": {"a": LOADED, "b": "part-2.safetensors"}}
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    file.write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(WeightsNotFound, match=r"transformer' lacks part-2\.safetensors"):
        build("ltx", folder)


@pytest.mark.parametrize("kept", [0, 5, 200, -1], ids="{} bytes kept".format)
def test_a_truncated_file(kept: int, build: Build, copy: Copy) -> None:
    folder = copy("wan-vace")
    file = folder / "vae" / LOADED
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=f"{re.escape(LOADED)}'.* its download broke off"):
        build("wan-vace", folder)


def test_pickled_weights(build: Build, copy: Copy) -> None:
    folder = copy("ltx")
    part = folder / "transformer"
    (part / LOADED).rename(part / "diffusion_pytorch_model.bin")
    with pytest.raises(UnsafeCheckpoint, match="pickled weights alone"):
        build("ltx", folder)


def test_code_in_the_folder(build: Build, copy: Copy) -> None:
    folder = copy("ltx", index={"transformer": ["my_code", "LTXVideoTransformer3DModel"]})
    with pytest.raises(UnsafeCheckpoint, match="brings code of its own for 'transformer'"):
        build("ltx", folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"index": {"expand_timesteps": True}},
        {"transformer": {"pos_embed_seq_len": None}},
        {"transformer": {"in_channels": 16}},
    ],
    ids=["TI2V 5B", "2.1 I2V", "T2V"],
)
def test_wan_weights_without_a_last_frame(
    changes: dict[str, dict], build: Build, copy: Copy
) -> None:
    with pytest.raises(BackboneMismatch, match="take no last frame"):
        build("wan-flf2v", copy("wan-flf2v", **changes))


def test_wan_weights_that_need_both_ends(build: Build, plane_scene: Scene) -> None:
    backbone = build("wan-flf2v")
    request = request_for(backbone, plane_scene)
    open_ended = request_for(backbone, plane_scene, keyframes=request.keyframes[:1])
    with pytest.raises(BackboneMismatch, match="need a photo at both ends"):
        generate(backbone, open_ended)


def test_cogvideox_weights_without_an_image(build: Build, copy: Copy) -> None:
    with pytest.raises(BackboneMismatch, match="take no image"):
        build("cogvideox", copy("cogvideox", transformer={"in_channels": 4}))


def test_weights_of_another_size(build: Build, copy: Copy, plane_scene: Scene) -> None:
    backbone = build("ltx", copy("ltx", transformer={"num_attention_heads": 3}))
    with pytest.raises(InputError, match="could not be loaded"):
        generate(backbone, request_for(backbone, plane_scene))


def test_a_file_that_lacks_a_weight(build: Build, copy: Copy, plane_scene: Scene) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy("ltx")
    file = folder / "transformer" / LOADED
    weights = load_file(file)
    del weights["proj_out.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    backbone = build("ltx", folder)
    with pytest.raises(InputError, match=r"transformer lacks proj_out\.weight"):
        generate(backbone, request_for(backbone, plane_scene))


def test_a_single_file_that_is_not_there(build: Build, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"vace\.safetensors' are not there"):
        build("wan-vace", weights=tmp_path / "vace.safetensors")


def test_half_precision_files_alone_are_enough(
    build: Build, copy: Copy, plane_scene: Scene
) -> None:
    folder = copy("svd")
    for part in ("unet", "vae"):
        file = folder / part / LOADED
        file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    file = folder / "image_encoder" / "model.safetensors"
    file.rename(file.with_name("model.fp16.safetensors"))
    backbone, whole = build("svd", folder), build("svd")
    request = request_for(whole, plane_scene)
    assert torch.equal(generate(backbone, request).frames, generate(whole, request).frames)


def test_licences_and_sources_are_told() -> None:
    for spec in BACKBONES.values():
        assert spec.licence
        if isinstance(spec, ModelSpec):
            assert spec.memory
            assert "/" in spec.repository
