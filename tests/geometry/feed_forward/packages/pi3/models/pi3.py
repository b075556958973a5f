"""The class that the adapter builds: as in github.com/yyfz/Pi3, pi3/models/pi3.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Pi3(nn.Module):
    """Three views of 96 x 72 pixels; answers at the size of what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.point_head = nn.Parameter(torch.zeros(3, 72, 96, 3))
        self.camera_head = nn.Parameter(torch.zeros(3, 4, 4))

    def forward(self, imgs: Tensor) -> dict[str, Tensor]:
        size = imgs.shape[-2:]
        points = functional.interpolate(self.point_head.movedim(3, 1), size, mode="bilinear")
        local = points.movedim(1, 3)[None]
        return {
            "local_points": local,
            "points": local,
            "conf": torch.full((*local.shape[:-1], 1), 3.0),
            "camera_poses": self.camera_head[None],
        }
