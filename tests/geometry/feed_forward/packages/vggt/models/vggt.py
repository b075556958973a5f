"""The class that the adapter builds: as in github.com/facebookresearch/vggt, models/vggt.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Held(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(shape))


class VGGT(nn.Module):
    """Three views of 96 x 72 pixels; answers at the size of what it is shown."""

    def __init__(self, img_size: int = 518, patch_size: int = 14, embed_dim: int = 1024) -> None:
        super().__init__()
        self.camera_head = _Held(3, 9)
        self.depth_head = _Held(3, 72, 96)
        self.point_head: nn.Module | None = _Held(1)
        self.track_head: nn.Module | None = _Held(1)

    def forward(self, images: Tensor, query_points: Tensor | None = None) -> dict[str, object]:
        assert images.ndim == 5
        encoded = self.camera_head.answer[None]
        depth = functional.interpolate(self.depth_head.answer[None], images.shape[-2:])
        predictions = {
            "pose_enc": encoded,
            "pose_enc_list": [encoded],
            "depth": depth[..., None],
            "depth_conf": torch.full_like(depth, 9.0),
            "images": images,
        }
        if self.point_head is not None:
            predictions["world_points"] = depth
        return predictions
