"""Confidence without weights: frames agree with photos, and where no photo tells, with each other.

Where captured geometry stands, each photo that sees the surface is looked up there. In holes a
plane sweep over depth asks whether any place of the surface would make the neighbours agree
(Collins 1996). Neighbours may be wrong alike, but then they are so where photos can tell, too: that
costs the whole frame its trust, in its holes and as a neighbour of others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ...ops.image import resize_images
from ...ops.photos import fit_size
from ...ops.projection import inside_image, project_points, unproject_depth
from ...progress import Progress
from ...render.cloud import scene_cloud
from ...render.points import render_points
from ...trajectory.focus import camera_distances, median_depth
from ...types import Cameras, Scene, Views
from ..placing import view_depths
from .planes import choose_inverse_depths, look_up, places_on_plane, plane_maps
from .weights import REFERENCE_CONFIDENCE
from .windows import agreement_of, expected_error, mean_error, window_mean

WORKING_SIDE = 256
"""Long side in pixels at which pictures are compared: errors of a pixel there are worth a doubt."""
PHOTOS = 4
"""Photos that a frame is compared with: the most alike ones."""
NEIGHBOURS = 4
"""Frames and photos that a hole is compared with."""
LEAST_APART = 0.02
"""Cameras nearer than this, in depths or radians, see the same error alike: no witnesses."""
PHOTO_NOISE, PHOTO_TEXTURE_NOISE = 0.06, 0.5
"""Deviation of colour from a photo that is no error: exposure and shine; and per deviation of the
texture, since geometry misplaces it by up to half a pixel."""
FRAME_NOISE, FRAME_TEXTURE_NOISE = 0.04, 0.35
"""The same from a neighbour of one's own kind, at a depth that suits best."""
MOST_GAIN = 1.25
"""Factor by which a whole frame may differ in exposure from a photo, per channel."""
SHIFT = 1
"""Pixels by which geometry may misplace a photo."""
HIDDEN_SHARE = 0.05
"""A point farther than what a photo shows there by more than this share is hidden to it."""
SMOOTH = 4
"""Pixels to each side over which agreement at one depth is averaged: chance agrees here and there,
a surface all around."""
SWEEP = 32
"""Depths that are tried in holes."""
UNSEEN = 0.3
"""Agreement of what no other picture shows: neither proven nor contradicted."""
DOUBTED, PROVEN = 0.15, 0.35
"""Agreement with neighbours up to which a hole counts as wrong, and from which as right: chance
finds some depth for anything, wide gaps between neighbours leave none for much that is right."""
LEAST = 0.25
"""What is left to pixels that are contradicted. The losses are of first power, so that two right
frames outvote three wrong ones at this weight, while what only wrong ones show is still better than
nothing: bent by some pixels, it is mostly right. Captured geometry may be wrong, too."""
FRAME_DOUBTED, FRAME_PROVEN = 0.25, 0.75
"""Mean agreement of a frame with photos up to which its holes are not trusted at all, and from
which fully: clean frames reach 0.8 and more, those that have drifted off by 5 pixels 0.2."""
LEAST_COVERED = 0.03
"""Share of a frame that photos must cover to tell of the rest; else it is taken as it is."""


class AgreementSource:
    """Judges frames by photos and by each other; see `ConfidenceSource` for the contract."""

    def __init__(self, device: str = "cpu", model: object = None) -> None:
        """Keep the device of the work; no network is asked."""
        self.device = device

    def judge(
        self, scene: Scene, views: Views, progress: Progress
    ) -> Float[Tensor, "frame height width"]:
        """See `ConfidenceSource`."""
        gallery = _Gallery.of(scene, views, self.device)
        cloud = scene_cloud(scene).to(self.device)
        judged = gallery.generated
        task = progress.start("Judging frames", 2 * len(judged))
        confidence = torch.ones(views.known.shape)
        trust = torch.ones(len(gallery.planes))
        proven: dict[int, tuple[Tensor, Tensor]] = {}
        for count, frame in enumerate(judged):
            camera = gallery.cameras[frame]
            depth = render_points(cloud, camera.to("cpu")).depth[0].to(self.device)
            proven[frame] = _agreement_with_photos(gallery, frame, depth)
            trust[frame] = _trust(*proven[frame])
            task.update(count + 1)
        for count, frame in enumerate(judged):
            by_photos, covered = proven.pop(frame)
            agreement = _agreement_in_holes(gallery, frame, trust.to(by_photos))
            # Captured geometry may be wrong: then neighbours agree at another depth.
            agreement = torch.where(covered, agreement.maximum(by_photos), agreement)
            agreement = agreement.clamp_min(LEAST)
            confidence[frame] = _enlarged(REFERENCE_CONFIDENCE**agreement, views.cameras)
            task.update(len(judged) + count + 1)
        return confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gallery:
    """Frames, then photos, at the working size: whoever can bear witness."""

    planes: Float[Tensor, "picture 4 h w"]
    """Colour, and 1 where it is valid."""
    cameras: Cameras
    """One per picture."""
    distance: Float[Tensor, "picture picture"]
    """Between cameras, in depths and radians."""
    generated: list[int]
    """Which pictures are generated frames."""
    photos: list[int]
    """Which are photos, in the scene's order."""
    surfaces: Float[Tensor, "photo 1 h w"]
    """Depth that was measured in each photo; 0 where none was."""
    inverse_depths: list[float]
    """Of the sweep."""

    @staticmethod
    def of(scene: Scene, views: Views, device: str) -> "_Gallery":
        """Gather everything; captured frames bear no witness, since the photos do."""
        width, height = fit_size(views.cameras.width, views.cameras.height, WORKING_SIDE)
        valid = torch.ones_like(views.known)[..., None]
        frames = torch.cat([views.frames, valid], dim=-1)
        # Photos of another shape are squeezed into the frames', and so are their K.
        photos = torch.cat([scene.photos.images, scene.photos.valid[..., None]], dim=-1)
        pictures = [resize_images(part, width, height) for part in (frames, photos)]
        parts = [part.resized(width, height) for part in (views.cameras, scene.photo_cameras)]
        cameras = Cameras.concatenate(parts)
        depths = view_depths(scene).where(scene.measured, 0.0)[:, None]
        surfaces = functional.interpolate(depths, (height, width), mode="nearest-exact")
        count = len(frames)
        return _Gallery(
            planes=torch.cat(pictures).clamp(0, 1).permute(0, 3, 1, 2).contiguous().to(device),
            cameras=cameras.to(device),
            distance=camera_distances(cameras, median_depth(scene)),
            generated=(views.photo_index < 0).nonzero()[:, 0].tolist(),
            photos=list(range(count, count + len(photos))),
            surfaces=surfaces.to(device),
            inverse_depths=choose_inverse_depths(depths[depths > 0], SWEEP),
        )

    def nearest(self, frame: int, among: Sequence[int]) -> list[int]:
        """Others in rising order of distance; the same whatever order they come in."""
        others = (other for other in among if other != frame)
        return sorted(others, key=lambda other: float(self.distance[frame, other]))


def _agreement_with_photos(
    gallery: _Gallery, frame: int, depth: Float[Tensor, "h w"]
) -> tuple[Float[Tensor, "h w"], Bool[Tensor, "h w"]]:
    """Best agreement with a photo that sees the surface, and where one does."""
    points = unproject_depth(depth[None], gallery.cameras[frame])[0]
    near = gallery.nearest(frame, gallery.photos)[:PHOTOS]
    looked = [_look_up_photo(gallery, photo, points) for photo in near]
    references, seen = (torch.stack(part) for part in zip(*looked, strict=True))
    picture = gallery.planes[frame, :3]
    references = references * _gains(picture, references, seen)
    expected = expected_error(
        references, seen, noise=PHOTO_NOISE, texture_noise=PHOTO_TEXTURE_NOISE
    )
    found = torch.full_like(expected, torch.inf)
    for moved in product(range(-SHIFT, SHIFT + 1), repeat=2):
        others = torch.roll(references, moved, dims=(-2, -1))
        there = torch.roll(seen, moved, dims=(-2, -1))
        found = torch.minimum(found, mean_error(picture.expand_as(others), others, there))
    agreement = agreement_of(found, expected) * seen
    return agreement.amax((0, 1)), seen.any(0)[0]


def _trust(agreement: Float[Tensor, "h w"], covered: Bool[Tensor, "h w"]) -> float:
    """How far a whole frame is trusted: a model that drifts off does so in holes too."""
    if float(covered.float().mean()) < LEAST_COVERED:
        return 1.0
    found = float(agreement[covered].mean())
    return min(1.0, max(0.0, (found - FRAME_DOUBTED) / (FRAME_PROVEN - FRAME_DOUBTED)))


def _gains(
    picture: Float[Tensor, "3 h w"],
    references: Float[Tensor, "n 3 h w"],
    seen: Float[Tensor, "n 1 h w"],
) -> Float[Tensor, "n 3 1 1"]:
    """Exposure of a picture over that of each reference, by the medians of what both show."""
    gains = torch.ones(len(references), 3, 1, 1, device=picture.device)
    for index, mask in enumerate(seen[:, 0] > 0):
        if bool(mask.any()):
            own = picture[:, mask].median(dim=1).values
            other = references[index][:, mask].median(dim=1).values
            gains[index, :, 0, 0] = own / other.clamp_min(1e-3)
    return gains.clamp(1 / MOST_GAIN, MOST_GAIN)


def _look_up_photo(
    gallery: _Gallery, photo: int, points: Float[Tensor, "h w 3"]
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "1 h w"]]:
    """A photo's colours at points, and 1 where it sees them; NaN points are not seen."""
    camera = gallery.cameras[photo]
    pixels, z = project_points(points, camera.viewmats[0], camera.K[0])
    shown = (z > 0) & inside_image(pixels, camera.width, camera.height)
    pixels = torch.where(shown[..., None], pixels, 0.0)[None]
    pixels = pixels / torch.tensor([camera.width, camera.height]).to(pixels)
    planes = look_up(gallery.planes[photo][None], pixels)[0]
    surface = gallery.surfaces[photo - gallery.photos[0]][None]
    front = look_up(surface, pixels, "nearest")[0, 0]
    hidden = (front > 0) & (z > front * (1 + HIDDEN_SHARE))
    return planes[:3], (shown & ~hidden & (planes[3] > 0.99))[None].float()


def _agreement_in_holes(
    gallery: _Gallery, frame: int, trust: Float[Tensor, " picture"]
) -> Float[Tensor, "h w"]:
    """How well some depth of each pixel makes the two best neighbours agree with it.

    A neighbour that does not see the place neither proves nor contradicts, and one that is not
    trusted is a witness of no worth, even where it agrees. The frame's own trust is what holes of
    it are worth at most.
    """
    near = gallery.nearest(frame, (*gallery.generated, *gallery.photos))
    apart = [other for other in near if gallery.distance[frame, other] >= LEAST_APART]
    near = (apart or near)[:NEIGHBOURS]
    camera, picture = gallery.cameras[frame], gallery.planes[frame, :3]
    expected = expected_error(
        picture[None],
        torch.ones_like(picture[None, :1]),
        noise=FRAME_NOISE,
        texture_noise=FRAME_TEXTURE_NOISE,
    ).expand(len(near), 1, -1, -1)
    far, shift = plane_maps(camera, gallery.cameras[near])
    others = gallery.planes[near]
    best = torch.zeros_like(picture[0])
    places = [places_on_plane(far, shift, inverse) for inverse in gallery.inverse_depths]
    unseen = torch.stack([shown for _, shown in places]).float().mean(0) < 0.5
    worth = trust[near, None, None]
    for pixels, shown in places:
        planes = look_up(others, pixels)
        seen = (shown & (planes[:, 3] > 0.99))[:, None].float()
        found = mean_error(picture.expand(len(near), -1, -1, -1), planes[:, :3], seen)
        agreement = (agreement_of(found, expected) * seen)[:, 0]
        agreement = UNSEEN + worth * (torch.where(unseen, UNSEEN, agreement) - UNSEEN)
        both = agreement.topk(min(2, len(near)), dim=0).values.mean(0)
        best = torch.maximum(best, window_mean(both[None], SMOOTH)[0])
    return trust[frame] * ((best - DOUBTED) / (PROVEN - DOUBTED)).clamp(0, 1)


def _enlarged(confidence: Float[Tensor, "h w"], cameras: Cameras) -> Float[Tensor, "height width"]:
    size = (cameras.height, cameras.width)
    planes = functional.interpolate(confidence[None, None], size=size, mode="bilinear")
    return planes[0, 0].cpu()
