"""VGGT's own package, small, with random weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from reconx.geometry.feed_forward import vggt as adapter
from reconx.geometry.feed_forward.vggt import load_vggt
from reconx.ops.se3 import invert_pose

WIDTH = 64
"""Channels of the small network."""


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a narrow network of its own class and parts; its constructor builds wide ones."""
    package = pytest.importorskip("vggt.models.vggt", reason="VGGT's package is not installed")
    original = package.VGGT

    def build() -> nn.Module:
        network = original.__new__(original)
        nn.Module.__init__(network)
        network.aggregator = package.Aggregator(
            img_size=98, embed_dim=WIDTH, depth=4, num_heads=2, patch_embed="conv"
        )
        network.camera_head = package.CameraHead(dim_in=2 * WIDTH, trunk_depth=1, num_heads=2)
        for head, channels in {"depth": 2, "point": 4}.items():
            part = package.DPTHead(
                dim_in=2 * WIDTH,
                output_dim=channels,
                activation="exp",
                conf_activation="expp1",
                features=16,
                out_channels=[16, 16, 16, 16],
                intermediate_layer_idx=[0, 1, 2, 3],
            )
            setattr(network, f"{head}_head", part)
        network.track_head = nn.Linear(1, 1)
        return network

    torch.manual_seed(3)
    torch.save(build().state_dict(), tmp_path / "tiny.pt")
    monkeypatch.setattr(package, "VGGT", build)
    return tmp_path / "tiny.pt"


@pytest.mark.filterwarnings("ignore:`torch.cuda.amp:FutureWarning")
def test_the_package_answers_as_it_is_read(checkpoint: Path) -> None:
    from vggt.utils.pose_enc import (  # pyright: ignore[reportMissingImports]
        pose_encoding_to_extri_intri,
    )

    model = load_vggt(checkpoint)
    images = torch.rand(3, 70, 98, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answer = model.network(images.permute(0, 3, 1, 2)[None])
    assert "world_points" not in answer
    # Fields of view of random weights are none: those of a camera take their place.
    answer["pose_enc"][..., 7:] = torch.tensor([0.8, 1.1])
    given = adapter.read_vggt(
        {name: part[0] for name, part in answer.items() if isinstance(part, torch.Tensor)}
    )
    extrinsics, intrinsics = pose_encoding_to_extri_intri(answer["pose_enc"], (70, 98))
    assert given.camera_to_world is not None
    assert given.K is not None
    torch.testing.assert_close(invert_pose(given.camera_to_world)[:, :3], extrinsics[0])
    torch.testing.assert_close(given.K, intrinsics[0])
    assert torch.equal(given.depth, answer["depth"][0, ..., 0])
    assert given.confidence is not None
    assert float(given.confidence.min()) >= 1
