"""The class that the adapter builds: as in github.com/facebookresearch/map-anything."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class MapAnything(nn.Module):
    """Three views of 96 x 72 pixels; answers at the size of what it is shown."""

    def __init__(
        self,
        name: str,
        encoder_config: dict[str, Any],
        pretrained_checkpoint_path: str | None = None,
    ) -> None:
        super().__init__()
        assert pretrained_checkpoint_path is None, "it would be unpickled"
        assert encoder_config["pretrained_checkpoint_path"] is None, "it would be unpickled"
        self.encoder = torch.hub.load(
            encoder_config["repository"], "dinov2_vits14", force_reload=False, pretrained=True
        )
        self.dpt_head = nn.Linear(1, 1)
        self.dense_head = nn.Sequential(self.dpt_head)
        self.depth = nn.Parameter(torch.zeros(3, 72, 96))
        self.intrinsics = nn.Parameter(torch.zeros(3, 3, 3))
        self.poses = nn.Parameter(torch.zeros(3, 4, 4))

    @torch.inference_mode()
    def infer(
        self,
        views: list[dict[str, Any]],
        memory_efficient_inference: bool = True,
        minibatch_size: int | None = None,
        use_amp: bool = True,
        apply_mask: bool = True,
        mask_edges: bool = True,
    ) -> list[dict[str, Tensor]]:
        assert not apply_mask
        assert not mask_edges
        answers = []
        for index, view in enumerate(views):
            assert set(view) == {"img", "data_norm_type"}
            assert view["data_norm_type"] == ["dinov2"]
            assert float(view["img"].min()) < 0, "photos come normalised"
            height, width = view["img"].shape[-2:]
            depth = functional.interpolate(self.depth[None, index, None], (height, width))
            K = self.intrinsics[index].clone()
            K[0] *= width
            K[1] *= height
            K[:2, 2] -= 0.5  # pixel centres at whole numbers
            answers.append(
                {
                    "depth_z": depth[:, 0, ..., None],
                    "conf": torch.full_like(depth[:, 0], 2.0),
                    "non_ambiguous_mask": torch.arange(width).expand(1, height, width) > 5,
                    "intrinsics": K[None],
                    "camera_poses": self.poses[index, None],
                }
            )
        return answers
