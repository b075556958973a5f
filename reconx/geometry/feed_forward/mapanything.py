"""MapAnything (Keetha et al. 2025, arXiv 2509.13414), by the package of its authors."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import InputError, WeightsNotFound
from ..depth_maps import GivenDepth
from .model import FeedForwardModel, check_file, load_weights

LICENCE = "CC BY-NC 4.0; of map-anything-apache: Apache-2.0"
"""Of the published weights, which their tensors do not tell apart; the code is Apache-2.0."""
SOURCE = "https://huggingface.co/facebook/map-anything (model.safetensors and config.json)"
READ = ("depth_z", "conf", "non_ambiguous_mask", "intrinsics", "camera_poses")
"""What we read of the answer to each view."""
DINO_MEAN, DINO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class AllViews(nn.Module):
    """MapAnything, asked as `FeedForwardModel` asks: all photos in one tensor, and no prior."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap the package's own network."""
        super().__init__()
        self.network: Any = network  # no type checker sees the package's method

    def forward(self, images: Float[Tensor, "1 view 3 height width"]) -> dict[str, Tensor]:
        """Each part of the answer, of all views, behind a first axis of one scene."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (DINO_MEAN, DINO_STD))
        views = [
            {"img": image, "data_norm_type": ["dinov2"]}
            for image in ((images - mean) / std)[0, :, None]
        ]
        # Masks are left to us: the package would put zeros where it doubts.
        answers = self.network.infer(
            views, use_amp=False, apply_mask=False, mask_edges=False, minibatch_size=1
        )
        return {name: torch.stack([answer[name] for answer in answers], 1) for name in READ}


def load_mapanything(path: str | Path, *, device: torch.device | str = "cpu") -> FeedForwardModel:
    """Load a checkpoint.

    Args:
        path: Its `model.safetensors`; the network's layout is read from `config.json` beside it.
        device: Where the network will lie.

    Raises:
        WeightsNotFound: If one of the files is not there.
        UnsafeCheckpoint: If reading it would run code.
        InputError: If a file is damaged, or no MapAnything.
    """
    path = Path(path)
    check_file(path, SOURCE)
    config = _read_config(path.with_name("config.json"))
    from mapanything.models.mapanything import (  # pyright: ignore[reportMissingImports]
        MapAnything,
    )

    try:
        with _no_downloads():
            network = MapAnything(**config)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The config.json beside '{path}' describes no MapAnything network ({error}). Expected "
            f"that of {SOURCE}."
        ) from error
    load_weights(network, path, SOURCE)
    return FeedForwardModel(
        network=AllViews(network).to(device), interpret=read_mapanything, checkpoint=path.name
    )


def _read_config(path: Path) -> dict[str, Any]:
    """The layout, without what would have the package unpickle further files."""
    if not path.is_file():
        raise WeightsNotFound(
            f"There is no '{path}', which tells the layout of the network beside it. Get it from "
            f"{SOURCE}."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"'{path}' is not JSON ({error}). Get it again from {SOURCE}.") from error
    if not isinstance(config, dict):
        raise InputError(f"'{path}' holds no JSON object. Get it again from {SOURCE}.")
    return _without_checkpoints(config)


def _without_checkpoints(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    return {
        name: None if name == "pretrained_checkpoint_path" else _without_checkpoints(part)
        for name, part in config.items()
    }


@contextmanager
def _no_downloads() -> Iterator[None]:
    """Build the network without internet.

    Its encoder asks torch.hub for code, which the package holds too, and for weights, which the
    checkpoint replaces.
    """
    from mapanything.models.external.dinov2.hub import (  # pyright: ignore[reportMissingImports]
        backbones,
    )

    def build(repository: str, model: str, **_: object) -> nn.Module:
        if repository != "facebookresearch/dinov2":
            raise ValueError(f"its encoder would be downloaded from {repository}")
        return getattr(backbones, model)(pretrained=False)

    ask, torch.hub.load = torch.hub.load, build
    try:
        yield
    finally:
        torch.hub.load = ask


def read_mapanything(answer: Mapping[str, Tensor]) -> GivenDepth:
    """What MapAnything says, in our conventions, in metres.

    Its poses lead from the camera to the world, with OpenCV axes, and its pixel centres lie at
    whole numbers. It knows where there is nothing to measure, as in the sky.

    Args:
        answer: "depth_z" (view, height, width, 1), "conf" and "non_ambiguous_mask" (view, height,
            width), "intrinsics" (view, 3, 3) and "camera_poses" (view, 4, 4).
    """
    depth = torch.where(answer["non_ambiguous_mask"], answer["depth_z"][..., 0], torch.nan)
    K = answer["intrinsics"].clone()
    K[:, :2, 2] += 0.5
    return GivenDepth(
        depth=depth,
        confidence=answer["conf"],
        K=K,
        camera_to_world=answer["camera_poses"],
        estimator="mapanything",
        licence=LICENCE,
    )
