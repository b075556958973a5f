"""Nodes that fit splats, film them, and compare pictures."""

from typing import Any

from torch import Tensor

from ..reconx.export.comparison import compare_pictures
from ..reconx.export.depth_frames import draw_depth_frames
from ..reconx.render.rasterizers.registry import RASTERIZERS
from ..reconx.splats.colours import ADAPTED
from ..reconx.splats.estimate import estimate_fit
from ..reconx.splats.film import film_gaussians
from ..reconx.splats.fit import FitOptions, fit_gaussians
from ..reconx.splats.report import report_text
from .convert import colour_from_host, images_from_host, splat_from_host, splat_to_host
from .runtime import NodeProgress, host_device, library_call, make_room, nothing
from .schema import node_schema, seed_input
from .sockets import CamerasSocket, Parcel, SceneSocket, ViewsSocket, io, pack


class FitGaussians(io.ComfyNode):
    """Scene and views -> a splat."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_FitGaussians",
            display_name="Fit Splat",
            description=(
                "Place 3D Gaussians on the point cloud and fit them until they look like the "
                "photos, and like the frames as far as those are trusted."
            ),
            search_aliases=["gaussian splatting", "3dgs", "train splat", "optimize", "gaussians"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                SceneSocket.Input("scene", tooltip="Photos with cameras and points."),
                *_fit_inputs(),
                ViewsSocket.Input(
                    "views",
                    optional=True,
                    tooltip="Frames along a path; they train only with train_on_generated.",
                ),
                *_further_fit_inputs(),
            ],
            outputs=[
                io.Splat.Output("splat", tooltip="In world units, upright in Preview Splat."),
                SceneSocket.Output("scene", tooltip="The scene with refined cameras."),
                ViewsSocket.Output(
                    "views", tooltip="The views with refined cameras; only if views came in."
                ),
                io.String.Output(
                    "report", tooltip="JSON: steps, loss, PSNR per photo, seconds, memory."
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls, scene: Parcel, seed: int, views: Parcel | None = None, **settings: Any
    ) -> io.NodeOutput:
        """Fit the splat."""
        options, device = FitOptions(**settings), host_device()
        frames = views.value if views else None
        node = cls.hidden.unique_id
        cost = estimate_fit(scene.value, frames, options, device, NodeProgress(node))
        make_room(cost.megabytes)
        result = fit_gaussians(
            scene.value,
            frames,
            options=options,
            device=device,
            seed=seed,
            progress=NodeProgress(node, cost),
        )
        refined = nothing("Fit Splat was given no views, so it has none to hand on.")
        return io.NodeOutput(
            splat_to_host(result.gaussians, result.scene.world_from_scene),
            pack(result.scene),
            pack(result.views) if result.views else refined,
            report_text(result.report),
        )


def _fit_inputs() -> list[io.Input]:
    """One widget per field of `FitOptions` that people turn, and the seed."""
    defaults = FitOptions()
    return [
        io.Int.Input(
            "steps",
            default=defaults.steps,
            min=1,
            max=100_000,
            tooltip=(
                "Steps of the fit, one picture each. Higher: sharper, slower in proportion; past a "
                "few thousand it learns the photos by heart and other views get worse."
            ),
        ),
        io.Int.Input(
            "max_gaussians",
            default=defaults.max_gaussians,
            min=1000,
            max=10_000_000,
            step=1000,
            tooltip=(
                "Budget of Gaussians. Higher: finer texture; time, memory and file grow with it. "
                "There are never more than pixels with depth."
            ),
        ),
        io.Int.Input(
            "sh_degree",
            default=defaults.sh_degree,
            min=0,
            max=3,
            tooltip=(
                "Degree of colour that changes with the direction of view. Higher: shine, and a "
                "file up to four times as large; unseen views gain little or nothing."
            ),
        ),
        io.Boolean.Input(
            "train_on_generated",
            default=defaults.train_on_generated,
            tooltip=(
                "Whether frames of the connected views train, every other step, as far as they are "
                "trusted; what nobody has judged is judged by agreement first. Worth it where a "
                "video model shows what no photo saw; frames of warp add little."
            ),
        ),
        io.Boolean.Input(
            "refine_poses",
            default=defaults.refine_poses,
            tooltip="Whether cameras are corrected as well, the first photo's excepted.",
        ),
        seed_input("Seeds the order of the pictures; the same seed gives the same splat."),
        io.Combo.Input(
            "rasterizer",
            options=["auto", *RASTERIZERS],
            default="auto",
            advanced=True,
            tooltip=(
                "Who draws the Gaussians. auto: the fastest here. "
                + " ".join(f"{name}: {spec.summary}" for name, spec in RASTERIZERS.items())
            ),
        ),
    ]


def _further_fit_inputs() -> list[io.Input]:
    """Fields of `FitOptions` that came later: optional, behind what saved workflows hold."""
    defaults = FitOptions()
    return [
        io.Combo.Input(
            "adapt_colours",
            options=list(ADAPTED),
            default=defaults.adapt_colours,
            optional=True,
            advanced=True,
            tooltip=(
                "Pictures that get a colour map of their own, where exposure or white balance "
                "changes: none, generated frames, or all. The splat gets the photos' mean colours."
            ),
        ),
        io.Float.Input(
            "robust_after",
            default=defaults.robust_after,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip=(
                "Share of the steps after which regions that contradict the other pictures are "
                "left out: people, cars. 0.3 where things moved; 1 leaves out nothing."
            ),
        ),
        io.Int.Input(
            "max_memory_mb",
            default=defaults.max_memory_mb,
            min=0,
            max=1_000_000,
            step=100,
            optional=True,
            advanced=True,
            tooltip=(
                "Memory in MB that the fit may take beyond its input; kept by fewer Gaussians. 0: "
                "no limit."
            ),
        ),
    ]


class RenderGaussians(io.ComfyNode):
    """Splat and cameras -> pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_RenderGaussians",
            display_name="Render Splat Along Path",
            description=(
                "Draw a splat from every camera of a path, with all of its view-dependent colour "
                "and the cameras' true lenses."
            ),
            search_aliases=["render gaussians", "splat video", "fly-through", "film splat"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Splat.Input(
                    "splat",
                    tooltip=(
                        "In world units. Each splat of a batch is drawn along the whole path, one "
                        "after another."
                    ),
                ),
                CamerasSocket.Input("cameras", tooltip="One picture per camera, at their size."),
                io.Color.Input(
                    "background",
                    default="#000000",
                    tooltip="Colour where nothing stands, mixed in where little does.",
                ),
            ],
            outputs=[
                io.Image.Output("images", tooltip="The splat from every camera."),
                io.Mask.Output(
                    "holes", tooltip="White where nothing stands, grey where it is translucent."
                ),
                io.Image.Output(
                    "depth",
                    tooltip=(
                        "1 / depth, white near and black far on one scale for all frames; black "
                        "where little stands."
                    ),
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(
        cls, splat: io.Splat.Type, cameras: Parcel, background: str = "#000000"
    ) -> io.NodeOutput:
        """Draw the splat."""
        film = film_gaussians(
            splat_from_host(splat),
            cameras.value,
            background=colour_from_host(background),
            device=host_device(),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        depth = draw_depth_frames(film.depth, film.alpha < 0.5)
        return io.NodeOutput(film.colour, 1 - film.alpha, depth)


class CompareViews(io.ComfyNode):
    """Two batches of pictures -> how alike they are."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_CompareViews",
            display_name="Compare Views",
            description="Measure how alike two batches of pictures are; show where they differ.",
            search_aliases=["psnr", "ssim", "difference", "metrics", "quality", "evaluate"],
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Image.Input("images", tooltip="Pictures to judge."),
                io.Image.Input(
                    "reference", tooltip="What they should look like; same count and size."
                ),
            ],
            outputs=[
                io.Float.Output(
                    "psnr",
                    tooltip="Peak signal-to-noise ratio in dB, over all pixels; higher is better.",
                ),
                io.Float.Output(
                    "ssim", tooltip="Structural similarity, mean over all pixels; 1 is the same."
                ),
                io.Image.Output(
                    "comparison",
                    tooltip=(
                        "Per pair: picture, reference, difference. Dark where they agree, "
                        "brightest from a quarter of the full range on."
                    ),
                ),
            ],
        )

    @classmethod
    @library_call
    def execute(cls, images: Tensor, reference: Tensor) -> io.NodeOutput:
        """Compare the pictures."""
        compared = compare_pictures(
            images_from_host(images),
            images_from_host(reference),
            progress=NodeProgress(cls.hidden.unique_id),
        )
        return io.NodeOutput(*compared)
