"""The network against the official one, and what must hold whatever its weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from reconx.geometry.dust3r.blocks import rotary_angles, rotate
from reconx.geometry.dust3r.config import VIT_LARGE, read_config
from reconx.geometry.dust3r.heads import activate_confidence, activate_points
from reconx.geometry.dust3r.network import Dust3rNetwork

OFFICIAL = load_file(Path(__file__).with_name("official.safetensors"))


def decode(network: Dust3rNetwork, images: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        tokens = network.encode(images)
        (points_i, confidence_i), (points_j, confidence_j) = network.decode(
            tokens[:1], tokens[1:], images.shape[1] // 16, images.shape[2] // 16
        )
    return {
        "points_i": points_i[0],
        "points_j": points_j[0],
        "confidence_i": confidence_i[0],
        "confidence_j": confidence_j[0],
    }


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_agrees_with_the_official_network(
    network: Dust3rNetwork, kind: str, images: Tensor
) -> None:
    height, width = images.shape[1:3]
    for name, found in decode(network, images).items():
        expected = OFFICIAL[f"{kind}.{height}x{width}.{name}"]
        assert found.shape == expected.shape
        assert relative_error(found, expected) < 1e-5, name
        assert (found - expected).abs().max() < 2e-5 * expected.abs().max(), name


def test_pairs_of_a_batch_do_not_touch_each_other(network: Dust3rNetwork, images: Tensor) -> None:
    rows, columns = images.shape[1] // 16, images.shape[2] // 16
    with torch.no_grad():
        tokens = network.encode(images)
        (both, _), _ = network.decode(tokens, tokens.flip(0), rows, columns)
        (alone, _), _ = network.decode(tokens[1:], tokens[:1], rows, columns)
    assert relative_error(both[1], alone[0]) < 1e-5
    assert relative_error(both[0], alone[0]) > 0.1


def test_the_official_size() -> None:
    with torch.device("meta"):
        network = Dust3rNetwork(VIT_LARGE)
    tensors = network.state_dict()
    unread = 2 * 2 * (256 * 256 * 9 + 256) + 768  # a join of the coarsest level per head; the mask
    assert sum(tensor.numel() for tensor in tensors.values()) == 571_171_208 - unread
    assert read_config({name: tuple(tensor.shape) for name, tensor in tensors.items()}) == VIT_LARGE


def test_attention_knows_how_far_apart_patches_lie_and_not_where() -> None:
    query, key = torch.randn(2, 1, 12, 2, 64, generator=torch.Generator().manual_seed(0))
    query, key = query[:, :1].expand_as(query), key[:, :1].expand_as(key)
    angles = rotary_angles(3, 4, like=query)
    products = rotate(query, angles) @ rotate(key, angles).mT
    table = products[0, 0].reshape(3, 4, 3, 4)
    torch.testing.assert_close(table[0, 0, 1, 2], table[1, 1, 2, 3])
    torch.testing.assert_close(table[2, 3, 0, 1], table[2, 2, 0, 0])
    assert (table[0, 0, 1, 2] - table[0, 0, 2, 1]).abs() > 0.1


def test_activations() -> None:
    raw = torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, -4.0]])
    expected = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.6 * 147.41316, -0.8 * 147.41316]])
    torch.testing.assert_close(activate_points(raw), expected)
    confidence = activate_confidence(torch.tensor([-100.0, 0.0, 2.0]))
    torch.testing.assert_close(confidence, torch.tensor([1.0, 2.0, 8.389056]))
