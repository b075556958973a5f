"""Nodes that make and change the global point cloud."""

from typing import Any

from ..reconx.export.scene_pictures import draw_scene
from ..reconx.geometry.estimators.base import GeometryOptions
from ..reconx.geometry.estimators.pairs import GRAPHS, PairOptions
from ..reconx.geometry.estimators.registry import make_estimator
from ..reconx.geometry.next_photo import describe_overlap
from ..reconx.geometry.overlap import measure_overlap
from ..reconx.geometry.transform import Ball, KnownDistance, keep_points, scale_to_distance
from ..reconx.geometry.upright import UP_RULES, stand_upright
from ..reconx.trajectory.focus import find_focus
from .convert import cloud_to_host
from .runtime import NodeProgress, host_device, library_call, make_room
from .schema import long_side_input, node_schema, seed_input
from .sockets import Parcel, PhotosSocket, PointmapModelSocket, SceneSocket, io, pack


class BuildPointCloud(io.ComfyNode):
    """Photos -> cameras, pointmaps and confidence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_BuildPointCloud",
            display_name="Build Point Cloud",
            description=(
                "Find where each photo was taken and how far every pixel is: one global point "
                "cloud with a confidence per point."
            ),
            search_aliases=["structure from motion", "sfm", "colmap", "photogrammetry", "stereo"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                PhotosSocket.Input("photos", tooltip="Two or more photos of one place."),
                long_side_input(
                    "size",
                    "Long side in pixels of the photos that later stages see. Higher: finer "
                    "detail; time and memory grow with its square.",
                    default=512,
                    most=4096,
                ),
                long_side_input(
                    "depth_size",
                    "Long side in pixels of the depth maps. Higher: more points and thinner "
                    "structures; time grows with its square.",
                    default=512,
                    most=4096,
                ),
                seed_input("Seeds every random choice; the same seed gives the same cloud."),
                io.DynamicCombo.Input(
                    "estimator",
                    options=[
                        io.DynamicCombo.Option("stereo", []),
                        io.DynamicCombo.Option("dust3r", _dust3r_inputs()),
                    ],
                    tooltip=(
                        "Who finds the geometry. stereo: classical matching and multi-view "
                        "stereo; needs no weights and no GPU. dust3r: a network that also copes "
                        "with few photos and blank walls; its weights are not for commercial use."
                    ),
                ),
            ],
            outputs=[
                SceneSocket.Output("scene", tooltip="Cameras, points, confidence and photos."),
                io.File3DPLY.Output(
                    "point_cloud", tooltip="The measured points, for Preview Point Cloud."
                ),
                io.Image.Output(
                    "depth_and_confidence",
                    tooltip="Per photo: depth, then confidence; black where nothing stands.",
                ),
                io.String.Output(
                    "overlap",
                    tooltip="What each photo shares with its neighbours, and what to photograph "
                    "next; for Preview Any.",
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls, photos: Parcel, size: int, depth_size: int, seed: int, estimator: dict[str, Any]
    ) -> io.NodeOutput:
        """Estimate the geometry."""
        options = GeometryOptions(
            fit_size=size, geometry_size=depth_size, device=host_device(), seed=seed
        )
        maker = make_estimator(estimator["estimator"], options, **_own_options(estimator))
        cost = maker.estimate_cost(photos.value)
        make_room(cost.megabytes)
        if "model" in estimator:
            estimator["model"].value.load(cost.megabytes)
        scene = maker.estimate(photos.value, NodeProgress(cls.hidden.unique_id, cost))
        told = describe_overlap(scene, measure_overlap(scene))
        return io.NodeOutput(pack(scene), cloud_to_host(scene), draw_scene(scene), told)


def _dust3r_inputs() -> list[io.Input]:
    return [
        PointmapModelSocket.Input("model", tooltip="From Load Pointmap Model."),
        io.Combo.Input(
            "pairs",
            options=list(GRAPHS),
            tooltip=(
                "Which photos are compared. complete: all with all, the time grows with the square "
                "of the photos. likely: those that look alike. window: those that follow each "
                "other, as in a video. one-to-all: the first with each other. auto: complete up to "
                "12 photos, then likely."
            ),
        ),
        io.Boolean.Input(
            "shared_lens",
            default=False,
            tooltip=(
                "On: all photos whose lens is unknown have one focal length, as from one camera "
                "without zooming. Steadier with few photos."
            ),
        ),
    ]


def _own_options(estimator: dict[str, Any]) -> dict[str, Any]:
    """What the chosen estimator alone takes."""
    if estimator["estimator"] != "dust3r":
        return {}
    from ..reconx.geometry.dust3r.estimator import Dust3rOptions  # brings scipy

    pairs = PairOptions(graph=estimator["pairs"])
    own = Dust3rOptions(pairs=pairs, shared_focal=estimator["shared_lens"])
    return {"model": estimator["model"].value.model, "own": own}


class TransformScene(io.ComfyNode):
    """Scene -> the same scene, trimmed, upright and to scale."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_TransformScene",
            display_name="Transform Scene",
            description=(
                "Drop uncertain or far points, stand the world upright, and give it its true size."
            ),
            search_aliases=["crop point cloud", "level", "metric scale", "upright", "confidence"],
            inputs=[
                SceneSocket.Input("scene", tooltip="From Build Point Cloud or Load Scene."),
                *_trim_inputs(),
                *_up_inputs(),
                io.DynamicCombo.Input(
                    "scale",
                    options=[
                        io.DynamicCombo.Option("keep", []),
                        io.DynamicCombo.Option("distance", _distance_inputs()),
                    ],
                    tooltip=(
                        "Size of the world. keep: as it is, without unit unless poses were given; "
                        "distance: in metres, from two places of one photo at a known distance."
                    ),
                ),
            ],
            outputs=[
                SceneSocket.Output("scene", tooltip="The scene, changed."),
                io.File3DPLY.Output(
                    "point_cloud",
                    tooltip="The measured points that are left, for Preview Point Cloud.",
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls,
        scene: Parcel,
        min_confidence: float,
        crop_radius: float,
        up: str,
        up_photo: int,
        scale: dict[str, Any],
    ) -> io.NodeOutput:
        """Drop points, then turn and scale the world."""
        given = scene.value
        region = Ball(center=find_focus(given), radius=crop_radius) if crop_radius else None
        changed = keep_points(given, min_confidence, region)
        changed = stand_upright(changed, up, up_photo - 1)
        if scale["scale"] == "distance":
            changed = scale_to_distance(changed, _known_distance(scale))
        return io.NodeOutput(pack(changed), cloud_to_host(changed))


def _trim_inputs() -> list[io.Input]:
    """Which points stay."""
    return [
        io.Float.Input(
            "min_confidence",
            default=1.0,
            min=1.0,
            max=10.0,
            step=0.1,
            tooltip=(
                "Points below this confidence are dropped. 1 keeps all, guessed ones have "
                "at most 2, measured ones 3 to 10. Higher: fewer, safer points."
            ),
        ),
        io.Float.Input(
            "crop_radius",
            default=0.0,
            min=0.0,
            max=1000.0,
            step=0.05,
            tooltip=(
                "Points farther than this from what the cameras look at are dropped. 1 is "
                "the median distance of what the first photo shows; 0 keeps all."
            ),
        ),
    ]


def _up_inputs() -> list[io.Input]:
    """What points up in the world."""
    return [
        io.Combo.Input(
            "up",
            options=list(UP_RULES),
            default="cameras",
            tooltip=(
                "What points up. cameras: trusts that the photos were held level; photo: "
                "one photo's own up; x to -z: that axis of the world as it is, which then "
                "stands upright in the viewers; keep: the world stays as it is."
            ),
        ),
        io.Int.Input(
            "up_photo",
            default=1,
            min=1,
            max=10000,
            tooltip="Number of the photo that is upright, from 1; only for up = photo.",
        ),
    ]


def _distance_inputs() -> list[io.Input]:
    """A photo, two pixels of it, and metres."""
    whose = "as an image viewer counts in the original, upright photo"
    pixels = [
        (f"{axis}{end}", f"{word} of the {place} place in pixels, from 0, {whose}.")
        for end, place in ((1, "first"), (2, "second"))
        for axis, word in (("x", "Column"), ("y", "Row"))
    ]
    return [
        io.Int.Input(
            "photo",
            default=1,
            min=1,
            max=10000,
            tooltip="Number of the photo in which both places are seen, from 1.",
        ),
        *(
            io.Int.Input(name, default=0, min=0, max=100000, tooltip=tooltip)
            for name, tooltip in pixels
        ),
        io.Float.Input(
            "metres",
            default=1.0,
            min=0.001,
            max=100000.0,
            step=0.001,
            tooltip="Distance between the two places. Higher: a larger world.",
        ),
    ]


def _known_distance(scale: dict[str, Any]) -> KnownDistance:
    return KnownDistance(
        photo=scale["photo"] - 1,
        first=(scale["x1"], scale["y1"]),
        second=(scale["x2"], scale["y2"]),
        metres=scale["metres"],
    )
