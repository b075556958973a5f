"""Nodes that bring photos into a graph."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ..reconx.photos.loading import PhotoOptions, load_photos, photos_from_images
from ..reconx.photos.masking import mask_photos
from ..reconx.photos.sources import list_photos
from ..reconx.photos.video import photos_from_video
from .convert import images_from_host, masks_from_host, video_frames, video_length
from .runtime import NodeProgress, input_path, library_call
from .schema import long_side_input, node_schema
from .sockets import PhotosSocket, io, pack

_IMAGES = Path(__file__).resolve().parents[1] / "assets" / "sample-room" / "images"
SAMPLE_ROOM = [_IMAGES / name for name in ("left.jpg", "middle.jpg", "right.jpg")]


class LoadPhotos(io.ComfyNode):
    """Photo files -> photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_LoadPhotos",
            display_name="Load Photos",
            description=(
                "Load two or more photos of one place, taken from different spots. Keeps what EXIF "
                "tells of the lens."
            ),
            search_aliases=["load image batch", "photo folder", "reconstruct", "exif"],
            inputs=[
                _max_size_input(),
                io.DynamicCombo.Input(
                    "source",
                    options=[
                        io.DynamicCombo.Option("sample-room", []),
                        io.DynamicCombo.Option("folder", [_folder_input()]),
                        io.DynamicCombo.Option("files", [_files_input()]),
                    ],
                    tooltip=(
                        "Where the photos lie. sample-room: three photos that come with the pack. "
                        "folder: every picture of a folder. files: pictures by name, or uploaded."
                    ),
                ),
                _masks_input(),
            ],
            outputs=[
                PhotosSocket.Output("photos", tooltip="The photos, and what is known of the lens."),
                io.Image.Output(
                    "images", tooltip="The photos as a batch, padded with black to one size."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, source: dict[str, Any], **_: Any) -> list[tuple[str, int, int]]:
        """Have the node run again when a photo on disk changes."""
        stats = [(path, path.stat()) for path in list_photos(_sources(source))]
        return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]

    @classmethod
    @library_call
    def execute(
        cls, max_size: int, source: dict[str, Any], masks: Tensor | None = None
    ) -> io.NodeOutput:
        """Load the photos."""
        photos = load_photos(_sources(source), options=PhotoOptions(max_size=max_size))
        if masks is not None:
            photos = mask_photos(photos, masks_from_host(masks))
        return io.NodeOutput(pack(photos), photos.images)


class PhotosFromImages(io.ComfyNode):
    """Pictures of any node -> photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_PhotosFromImages",
            display_name="Photos From Images",
            description="Take a batch of images for photos of one place, from different spots.",
            search_aliases=["images to photos", "batch to photos", "multi view"],
            inputs=[
                io.Image.Input(
                    "images", tooltip="Two or more pictures of one place, taken by one lens."
                ),
                _max_size_input(),
                _lens_input("of the images as they come in"),
                _masks_input(),
            ],
            outputs=[PhotosSocket.Output("photos", tooltip="The images as photos.")],
        )

    @classmethod
    @library_call
    def execute(
        cls, images: Tensor, max_size: int, lens: dict[str, Any], masks: Tensor | None = None
    ) -> io.NodeOutput:
        """Wrap the images."""
        options = _options(max_size, lens)
        photos = photos_from_images(images_from_host(images), options=options)
        if masks is not None:
            photos = mask_photos(photos, masks_from_host(masks))
        return io.NodeOutput(pack(photos))


class PhotosFromVideo(io.ComfyNode):
    """The sharpest frames of a video -> photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_PhotosFromVideo",
            display_name="Photos From Video",
            description=(
                "Take the sharpest frame of each stretch of a video in which the camera moves "
                "through a place."
            ),
            search_aliases=["video frames", "extract frames", "sharpest frames", "keyframes"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Video.Input(
                    "video", tooltip="A moving camera and a still place; one lens, no zooming."
                ),
                io.Int.Input(
                    "count",
                    default=16,
                    min=2,
                    max=1000,
                    tooltip=(
                        "Photos to take: the video is cut into so many equal stretches, and each "
                        "gives its sharpest frame. More: neighbours look more alike and are easier "
                        "to match; time grows in proportion."
                    ),
                ),
                _max_size_input(),
                _lens_input("of the video's frames"),
            ],
            outputs=[
                PhotosSocket.Output("photos", tooltip="The frames, named after their numbers."),
                io.Image.Output("images", tooltip="The frames taken, as a batch."),
            ],
        )

    @classmethod
    @library_call
    def execute(cls, video: Any, count: int, max_size: int, lens: dict[str, Any]) -> io.NodeOutput:
        """Choose the frames."""
        photos = photos_from_video(
            video_frames(video),
            video_length(video),
            count,
            options=_options(max_size, lens),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        return io.NodeOutput(pack(photos), photos.images)


def _sources(source: dict[str, Any]) -> list[Path]:
    """Files and folders that a `source` input names."""
    if source["source"] == "sample-room":
        return SAMPLE_ROOM
    if source["source"] == "folder":
        return [input_path(source["folder"])]
    return [input_path(line) for line in source["files"].splitlines() if line.strip()]


def _options(max_size: int, lens: dict[str, Any]) -> PhotoOptions:
    return PhotoOptions(
        max_size=max_size, focal_px=lens.get("focal_px"), fov_degrees=lens.get("fov_degrees")
    )


def _max_size_input() -> io.Int.Input:
    return long_side_input(
        "max_size",
        "Long side in pixels to which larger photos are shrunk. Higher: cameras are found more "
        "precisely; time and memory grow with its square.",
        default=1600,
        most=8192,
    )


def _folder_input() -> io.String.Input:
    return io.String.Input(
        "folder",
        default="",
        tooltip=(
            "A folder of ComfyUI's input directory, or an absolute path on the machine that "
            "ComfyUI runs on. All pictures directly in it are taken, by name, 2 before 10. Empty: "
            "the input directory itself."
        ),
    )


def _files_input() -> io.String.Input:
    # Lines of text: inside a DynamicCombo the host's list of pictures takes one picture without
    # upload, and its list of several is not drawn at all by its newer canvas.
    return io.String.Input(
        "files",
        default="",
        multiline=True,
        placeholder="One picture of the input directory per line",
        tooltip=(
            "Pictures of ComfyUI's input directory, one per line; the button below uploads some. "
            "The first photo's camera is where the scene begins."
        ),
    )


def _masks_input() -> io.Mask.Input:
    return io.Mask.Input(
        "masks",
        optional=True,
        tooltip=(
            "White is used, black left out: moving people, sky, a watermark. One mask per photo in "
            "their order, or one for all, shaped like the images. Load Image gives the opposite: "
            "put Invert Mask between."
        ),
    )


def _lens_input(whose: str) -> io.DynamicCombo.Input:
    return io.DynamicCombo.Input(
        "lens",
        options=[
            io.DynamicCombo.Option("unknown", []),
            io.DynamicCombo.Option(
                "focal",
                [
                    io.Float.Input(
                        "focal_px",
                        default=1000.0,
                        min=1.0,
                        max=100000.0,
                        step=1.0,
                        tooltip=f"Focal length in pixels {whose}. Higher: a longer lens.",
                    )
                ],
            ),
            io.DynamicCombo.Option(
                "field-of-view",
                [
                    io.Float.Input(
                        "fov_degrees",
                        default=60.0,
                        min=1.0,
                        max=179.0,
                        step=0.1,
                        tooltip=f"Horizontal angle of view in degrees {whose}. Higher: wider.",
                    )
                ],
            ),
        ],
        tooltip=(
            "What is known of the lens, which all pictures share. unknown: found from the "
            "pictures. A known lens makes few pictures, and flat places, more reliable."
        ),
    )
