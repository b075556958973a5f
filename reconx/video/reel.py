"""The frames of a path while they are made, at the path's size.

Owns keyframes, joining, and putting photos back.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..ops.framing import reframe_images, reframe_masks
from ..ops.image import resize_images, resize_masks
from ..trajectory.options import CameraPath
from ..types import Cameras, Scene, Views
from .base import Clip, Keyframe
from .clips import Stretch

CAPTURED_CONFIDENCE = 10.0
"""What a photo's own pixels have in `Views.confidence`: full weight in the fit."""


class Reel:
    """Takes clips in and hands out what later clips must pass through."""

    def __init__(self, scene: Scene, path: CameraPath) -> None:
        """Begin without any frame.

        Args:
            scene: Whose photos stand on the path.
            path: All frames.
        """
        self._path = path
        width, height = path.cameras.width, path.cameras.height
        self._photos = reframe_images(scene.photos.images, width, height).clamp(0, 1)
        self._photos_valid = reframe_masks(scene.photos.valid, width, height)
        self._frames = torch.zeros(len(path), height, width, 3)
        self._known = torch.zeros(len(path), height, width, dtype=torch.bool)
        self._confidence = torch.ones(len(path), height, width)
        self._judged = True

    def keyframes(self, clip: Stretch, cameras: Cameras) -> tuple[Keyframe, ...]:
        """What a clip must pass through: photos, and the last frame of the clip before it.

        A clip that was lengthened rests at its last camera, so a keyframe there moves to the end.
        """
        found = []
        for frame in range(clip.first, clip.last + 1):
            photo = int(self._path.photo_index[frame])
            if photo >= 0:
                image, valid = self._photos[photo], self._photos_valid[photo]
            elif frame == clip.first and frame > 0:
                image, valid = self._frames[frame], torch.ones_like(self._known[frame])
            else:
                continue
            found.append(
                Keyframe(
                    image=_resized(image[None], cameras.width, cameras.height)[0],
                    valid=_resized_mask(valid[None], cameras.width, cameras.height)[0],
                    index=len(cameras) - 1 if frame == clip.last else frame - clip.first,
                    photo_index=photo,
                )
            )
        return tuple(found)

    def add(self, clip: Stretch, made: Clip, known: Bool[Tensor, "frame h w"]) -> None:
        """Take a clip in; a frame shared with the clip before stays as it was."""
        skip = 1 if clip.first > 0 else 0
        rows = slice(clip.first + skip, clip.last + 1)
        part = slice(skip, clip.last - clip.first + 1)
        width, height = self._path.cameras.width, self._path.cameras.height
        self._frames[rows] = _resized(made.frames[part], width, height)
        self._known[rows] = _resized_mask(known[part], width, height)
        if made.confidence is None:
            self._judged = False
        else:
            confidence = _resized(made.confidence[part][..., None], width, height)
            self._confidence[rows] = confidence[..., 0]

    def finish(self) -> Views:
        """Put the captured photos back as themselves and hand all over."""
        for frame, photo in enumerate(self._path.photo_index.tolist()):
            if photo < 0:
                continue
            valid = self._photos_valid[photo]
            self._frames[frame][valid] = self._photos[photo][valid]
            self._known[frame] |= valid
            self._confidence[frame][valid] = CAPTURED_CONFIDENCE
        return Views(
            frames=self._frames,
            cameras=self._path.cameras,
            confidence=self._confidence if self._judged else None,
            known=self._known,
            photo_index=self._path.photo_index,
        )


def _resized(
    images: Float[Tensor, "frame height width channel"], width: int, height: int
) -> Float[Tensor, "frame h w channel"]:
    return images if images.shape[1:3] == (height, width) else resize_images(images, width, height)


def _resized_mask(
    masks: Bool[Tensor, "frame height width"], width: int, height: int
) -> Bool[Tensor, "frame h w"]:
    return masks if masks.shape[1:] == (height, width) else resize_masks(masks, width, height)
