"""The small model with tiny random weights: what it is told, what it changes, what it loads."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from backbone_contract import CHECKS, generate, request_for
from safetensors.torch import load_file, save_file
from structure_contract import STRUCTURE_CHECKS, StructureFor
from tiny_structure import tiny_structure

from reconx.errors import InputError, WeightsNotFound
from reconx.render.points import render_scene
from reconx.structure.encoder import describe_places
from reconx.structure.model import StructureModel
from reconx.structure.sites import find_sites
from reconx.training.cutting import ClipCutter
from reconx.training.options import DataOptions
from reconx.training.recipe import read_recipe
from reconx.types import FILLED, Scene
from reconx.video.backbones.small.backbone import SmallBackbone
from reconx.video.backbones.small.inputs import compare_with_places, ray_features
from reconx.video.backbones.small.network import SITES, SmallDenoiser, SmallSizes
from reconx.video.backbones.small.weights import load_small_model, save_small_model
from reconx.video.base import ClipRequest, GuidanceOptions, VideoBackbone
from reconx.video.registry import BACKBONES, make_backbone

RECIPE = Path(__file__).resolve().parents[2] / "benchmarks" / "small.json"
SIZES = SmallSizes(patch=4, widths=(24,), heads=2, blocks=1)


def tiny_denoiser() -> SmallDenoiser:
    """Random, and far from its first guess."""
    torch.manual_seed(0)
    denoiser = SmallDenoiser(SIZES)
    for parameter in denoiser.leave.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return denoiser


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    save_small_model(tiny_denoiser(), path, recipe={"steps": 0})
    return path


@pytest.fixture
def backbone(weights: Path) -> SmallBackbone:
    return SmallBackbone(BACKBONES["small"], weights)


def structure_for(backbone: VideoBackbone, gate: float) -> StructureModel:
    widths = [site.width for site in find_sites(tiny_denoiser(), SITES)]
    return tiny_structure("small", widths, gate=gate)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_the_contract_is_kept(
    check: Callable[[VideoBackbone, Scene], None], backbone: SmallBackbone, plane_scene: Scene
) -> None:
    check(backbone, plane_scene)


@pytest.mark.parametrize("check", STRUCTURE_CHECKS)
def test_structure_is_read(
    check: Callable[[VideoBackbone, Scene, StructureFor], None],
    backbone: SmallBackbone,
    plane_scene: Scene,
) -> None:
    check(backbone, plane_scene, structure_for)


def test_only_holes_differ_from_warp(backbone: SmallBackbone, plane_scene: Scene) -> None:
    poses = plane_scene.photo_cameras.camera_to_world[:2].clone()
    poses[:, 2, 3] -= 0.3
    cameras = replace(plane_scene.photo_cameras[[0, 1]], camera_to_world=poses)
    renders = render_scene(plane_scene, cameras)
    request = request_for(backbone, plane_scene, keyframes=(), cameras=cameras, renders=renders)
    blended, made = generate(make_backbone("warp"), request), generate(backbone, request)
    assert blended.confidence is not None
    hole = blended.confidence <= FILLED
    assert 0.01 < hole.float().mean() < 0.5
    assert torch.equal(made.frames[~hole], blended.frames[~hole])
    assert ((made.frames != blended.frames).any(-1)[hole]).float().mean() > 0.9
    assert made.confidence is not None
    assert torch.equal(made.confidence, blended.confidence)


def test_rays_compare_points_by_their_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    origin, point = torch.randn(2, 50, 3, generator=generator).double()
    direction = torch.nn.functional.normalize(
        torch.randn(50, 3, generator=generator).double(), dim=1
    )
    rays = torch.cat([torch.linalg.cross(origin, direction), direction], -1)
    sharp, near = torch.tensor([2.0, 5.0]).double(), torch.tensor([0.0, 0.5]).double()
    factors = compare_with_places(ray_features(rays), sharp, near)
    found = torch.einsum("nhc,nc->nh", factors, describe_places(point))
    away = torch.linalg.cross(point - origin, direction).square().sum(-1)
    closest = torch.linalg.cross(direction, rays[:, :3]).square().sum(-1)
    depth = (point * direction).sum(-1)
    expected = -sharp * (away - closest)[:, None] - near * depth[:, None]
    assert torch.allclose(found, expected)


def test_weights_come_back_in_half_precision(weights: Path) -> None:
    again, before = load_small_model(weights), tiny_denoiser()
    assert again.sizes == SIZES
    for name, value in before.state_dict().items():
        assert torch.equal(again.state_dict()[name], value.half().float())


def test_another_file_is_refused(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"no weights .*none\.safetensors.*install it again"):
        load_small_model(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"'cut\.safetensors' cannot be read .*cut short"):
        load_small_model(cut)
    other = tmp_path / "other.safetensors"
    save_file(load_file(weights), other)
    with pytest.raises(InputError, match=r"format is 'not told'.*'reconx-small-1'"):
        load_small_model(other)


def test_weights_of_another_size_are_refused(tmp_path: Path, weights: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    tensors = load_file(weights) | {"enter.bias": torch.zeros(7).half()}
    sizes = '{"patch": 4, "widths": [24], "heads": 2, "blocks": 1}'
    save_file(tensors, wrong, {"format": "reconx-small-1", "sizes": sizes})
    with pytest.raises(InputError, match=r"size mismatch for enter\.bias"):
        load_small_model(wrong)


@pytest.mark.parametrize(("widths", "heads"), [((24,), 5), ((20,), 2), ((16,), 2), ((), 2)])
def test_sizes_that_do_not_go_together_are_refused(widths: tuple[int, ...], heads: int) -> None:
    with pytest.raises(InputError, match="small model"):
        SmallSizes(widths=widths, heads=heads)


def test_the_packs_own_weights_fill_holes_better_than_warp() -> None:
    """On rooms that they have not learned from, and on which depth is partly missing."""
    options = read_recipe(RECIPE, ["clip.frames=5"])
    data = DataOptions(kind="procedural", scenes=6, clips=6, first=1_000_000, frames=24)
    spec = BACKBONES["small"]
    cutter = ClipCutter([data], options.clip, options.cloud, spec, seed=0, device="cpu")
    errors = {"warp": 0.0, "small": 0.0}
    for number in range(len(cutter)):
        clip = cutter.cut(number)
        between = slice(1, -1)
        cameras = clip.cameras[list(range(1, len(clip.cameras) - 1))]
        request = ClipRequest(
            cameras=cameras,
            keyframes=(),
            renders=render_scene(clip.scene, cameras),
            scene=clip.scene,
            steps=1,
            guidance=GuidanceOptions(),
        )
        for name in errors:
            made = generate(make_backbone(name), request)
            assert made.confidence is not None
            hole = made.confidence <= FILLED
            errors[name] += float((made.frames - clip.frames[between])[hole].square().sum())
    assert errors["small"] < 0.8 * errors["warp"]
