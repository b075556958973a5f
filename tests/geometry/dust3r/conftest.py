"""Small networks whose weights depend on names and shapes alone.

So the official code can be filled alike, beside this project (`make_official.py`).
"""

import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from reconx.geometry.dust3r.config import DptConfig, NetworkConfig
from reconx.geometry.dust3r.network import Dust3rNetwork

SIZES = {"landscape": (32, 48), "portrait": (48, 32)}
"""Height and width; 3 patches along one side, so that the coarsest level rounds up."""
CONFIGS = {
    "linear": NetworkConfig(
        patch=16,
        encoder_width=128,
        encoder_depth=2,
        decoder_width=64,
        decoder_depth=3,
        mlp_ratio=4,
        dpt=None,
    ),
    "dpt": NetworkConfig(
        patch=16,
        encoder_width=128,
        encoder_depth=2,
        decoder_width=64,
        decoder_depth=10,
        mlp_ratio=4,
        dpt=DptConfig(levels=(96, 192, 384, 768), features=256, last=128),
    ),
}


def uniform(name: str, shape: tuple[int, ...]) -> Tensor:
    """In [-1, 1): the integers from 0 on, hashed together with the name (murmur3's last step)."""
    count = int(np.prod(shape))
    bits = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
    bits ^= np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        bits ^= bits >> np.uint32(shift)
        bits *= np.uint32(factor)
    return torch.from_numpy(bits.astype(np.float32) / 2**31 - 1).reshape(shape)


def fill(name: str, shape: tuple[int, ...]) -> Tensor:
    """A weight that keeps signals of size 1 at about that size; a small bias; a scale near 1."""
    if len(shape) > 1:
        gain = 0.5 if "resConfUnit" in name else 1.0  # what is added again and again stays small
        return uniform(name, shape) * gain * float(3 / np.prod(shape[1:])) ** 0.5
    offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    return offset + 0.1 * uniform(name, shape)


def two_photos(height: int, width: int) -> Tensor:
    """In [0, 1]."""
    return 0.5 + 0.5 * uniform("photos", (2, height, width, 3))


@pytest.fixture(scope="session")
def small_weights() -> Callable[[NetworkConfig], dict[str, Tensor]]:
    """All tensors of a network by the official names."""

    def weights(config: NetworkConfig) -> dict[str, Tensor]:
        with torch.device("meta"):
            shapes = Dust3rNetwork(config).state_dict()
        return {name: fill(name, tuple(tensor.shape)) for name, tensor in shapes.items()}

    return weights


@pytest.fixture(scope="session", params=CONFIGS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which head."""
    return request.param


@pytest.fixture(scope="session")
def network(
    kind: str, small_weights: Callable[[NetworkConfig], dict[str, Tensor]]
) -> Dust3rNetwork:
    """A filled network."""
    with torch.device("meta"):
        network = Dust3rNetwork(CONFIGS[kind])
    network.load_state_dict(small_weights(CONFIGS[kind]), assign=True)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session", params=SIZES)
def images(request: pytest.FixtureRequest) -> Tensor:
    """Two photos of each orientation."""
    return two_photos(*SIZES[request.param])


@pytest.fixture(scope="session")
def linear_config() -> NetworkConfig:
    return CONFIGS["linear"]
