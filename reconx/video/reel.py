"""The frames of a path while they are made, at the path's size.

Owns keyframes, joining, and putting photos back.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..ops.framing import reframe_images, reframe_masks
from ..ops.image import resize_images, resize_masks
from ..trajectory.options import CameraPath
from ..types import Cameras, Scene, Views
from .base import Clip, Keyframe
from .clips import Stretch
from .storage import MAX_GIGABYTES, new_zeros, on_disk

BYTES_PER_PIXEL = 17
"""Colour, confidence and whether it is known."""
CAPTURED_CONFIDENCE = 10.0
"""What a photo's own pixels have in `Views.confidence`: full weight in the fit."""


class Reel:
    """Takes clips in and hands out what later clips must pass through."""

    def __init__(
        self, scene: Scene, path: CameraPath, *, max_gigabytes: int | float = MAX_GIGABYTES
    ) -> None:
        """Begin without any frame.

        Args:
            scene: Whose photos stand on the path.
            path: All frames.
            max_gigabytes: Frames that take more than this (1e9 bytes) lie in a temporary file.

        Raises:
            InputError: If they would, and the disk lacks the room.
        """
        self._path, self._scene_photos = path, scene.photos
        shape = (len(path), path.cameras.height, path.cameras.width)
        disk = on_disk(math.prod(shape) * BYTES_PER_PIXEL, max_gigabytes)
        self._frames = new_zeros((*shape, 3), torch.float32, disk=disk)
        self._known = new_zeros(shape, torch.bool, disk=disk)
        self._confidence = new_zeros(shape, torch.float32, disk=disk)
        self._judged = True

    def _photo(
        self, photo: int
    ) -> tuple[Float[Tensor, "height width 3"], Bool[Tensor, "height width"]]:
        """A photo at the path's size, and where it is valid."""
        width, height = self._path.cameras.width, self._path.cameras.height
        images = self._scene_photos.images[photo : photo + 1]
        valid = self._scene_photos.valid[photo : photo + 1]
        image = reframe_images(images, width, height)[0].clamp(0, 1)
        return image, reframe_masks(valid, width, height)[0]

    def keyframes(self, clip: Stretch, cameras: Cameras) -> tuple[Keyframe, ...]:
        """What a clip must pass through: photos, and frames that clips before it have made.

        Those are its first frame, and in a closed path the last. A clip that was lengthened rests
        at its last camera, so a keyframe there moves to the end.
        """
        found = []
        for place, frame in enumerate(clip.frames(self._path)):
            photo = int(self._path.photo_index[frame])
            last = place == clip.last - clip.first
            if photo >= 0:
                image, valid = self._photo(photo)
            elif clip.first > 0 and (place == 0 or (last and frame == 0)):
                image, valid = self._frames[frame], torch.ones_like(self._known[frame])
            else:
                continue
            found.append(
                Keyframe(
                    image=_resized(image[None], cameras.width, cameras.height)[0],
                    valid=_resized_mask(valid[None], cameras.width, cameras.height)[0],
                    index=len(cameras) - 1 if last else place,
                    photo_index=photo,
                )
            )
        return tuple(found)

    def add(self, clip: Stretch, made: Clip, known: Bool[Tensor, "frame h w"]) -> None:
        """Take a clip in; a frame shared with a clip before stays as it was."""
        first = clip.first + 1 if clip.first > 0 else 0
        last = min(clip.last, len(self._path) - 1)
        rows = slice(first, last + 1)
        part = slice(first - clip.first, last - clip.first + 1)
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
            image, valid = self._photo(photo)
            self._frames[frame][valid] = image[valid]
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
