"""Pi3: its answer in our conventions; and its own package, small, with random weights."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from reconx.geometry.depth_maps import GivenDepth
from reconx.geometry.feed_forward.model import PATCH, FeedForwardModel
from reconx.geometry.feed_forward.pi3 import read_pi3
from reconx.ops.projection import world_to_camera
from reconx.types import Scene

WIDTH = 64
"""Channels of the small network."""


def perfect_answer(scene: Scene) -> dict[str, torch.Tensor]:
    """What Pi3 would say of the scene if it made no mistake."""
    local = zip(scene.points, scene.cameras.viewmats, strict=True)
    return {
        "local_points": torch.stack([world_to_camera(p, m) for p, m in local]),
        "conf": torch.zeros(*scene.confidence.shape, 1),
        "camera_poses": scene.cameras.camera_to_world,
    }


def test_lenses_are_found_from_points(plane_scene: Scene) -> None:
    given = read_pi3(perfect_answer(plane_scene))
    assert given.K is not None
    torch.testing.assert_close(given.K, plane_scene.cameras.K, rtol=1e-4, atol=1e-3)
    assert given.confidence is not None
    assert float(given.confidence.min()) == 1.25


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Its own class and parts, narrow; its constructor builds only wide ones."""
    package = pytest.importorskip("pi3.models.pi3", reason="Pi3's package is not installed")
    vit = pytest.importorskip("pi3.models.dinov2.models.vision_transformer")
    torch.manual_seed(3)
    network = package.Pi3.__new__(package.Pi3)
    nn.Module.__init__(network)
    network.patch_size, network.patch_start_idx, network.pos_type = PATCH, 5, "rope100"
    network.encoder = vit.DinoVisionTransformer(
        img_size=98, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=2, block_chunks=0
    )
    rope = package.RoPE2D(freq=100.0)
    network.position_getter = package.PositionGetter()
    network.decoder = nn.ModuleList(
        package.BlockRope(
            dim=WIDTH,
            num_heads=2,
            qk_norm=True,
            attn_class=package.FlashAttentionRope,
            ffn_layer=package.Mlp,
            rope=rope,
        )
        for _ in range(2)
    )
    network.register_token = nn.Parameter(torch.randn(1, 1, 5, WIDTH))
    for part, size in {"point": 3, "conf": 1, "camera": 0}.items():
        decoder = package.TransformerDecoder(
            in_dim=2 * WIDTH, dec_embed_dim=WIDTH, dec_num_heads=2, out_dim=WIDTH, rope=rope
        )
        head = (
            package.LinearPts3d(patch_size=PATCH, dec_embed_dim=WIDTH, output_dim=size)
            if size
            else package.CameraHead(dim=WIDTH)
        )
        setattr(network, f"{part}_decoder", decoder)
        setattr(network, f"{part}_head", head)
    network.register_buffer("image_mean", torch.full((1, 3, 1, 1), 0.45))
    network.register_buffer("image_std", torch.full((1, 3, 1, 1), 0.22))
    return network.eval()


def test_the_package_answers_as_it_is_read(network: nn.Module) -> None:
    answers = []

    def interpret(answer: Mapping[str, torch.Tensor]) -> GivenDepth:
        answers.append(answer)
        # Random points are no picture: those of a camera of focal length 80 take their place.
        y, x = torch.meshgrid(torch.arange(70) + 0.5, torch.arange(98) + 0.5, indexing="ij")
        rays = torch.stack([(x - 49) / 80, (y - 35) / 80, torch.ones(70, 98)], dim=-1)
        return read_pi3({**answer, "local_points": rays * answer["local_points"][..., 2:]})

    model = FeedForwardModel(network=network, interpret=interpret, checkpoint="tiny.pt")
    images = torch.rand(3, 70, 98, 3, generator=torch.Generator().manual_seed(0))
    given = model.predict(images)
    (answer,) = answers
    assert given.depth.shape == (3, 70, 98)
    assert given.K is not None
    torch.testing.assert_close(given.K[:, 0, 0], torch.full((3,), 80.0))
    # Camera to world: its own world points are its local ones, moved by its poses.
    poses = given.camera_to_world
    assert poses is not None
    assert float(poses[:, :3, 3].norm(dim=-1).min()) > 1e-3
    moved = torch.einsum("vij,vhwj->vhwi", poses[:, :3, :3], answer["local_points"])
    torch.testing.assert_close(moved + poses[:, None, None, :3, 3], answer["points"])
    assert torch.equal(given.depth, answer["local_points"][..., 2])
