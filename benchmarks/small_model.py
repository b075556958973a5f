"""Frames of the small model against those of warp, on views that neither was shown.

Run from the repository's root: `python benchmarks/small_model.py`. Scenes have the true depth of
the photos that are shown, so that nothing else is measured: procedural rooms that the model has not
learned from, and the sample room. Seconds are the processor's, minima over runs that take turns, at
the sizes that are given.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reconx.datasets.folders import PosedFolders
from reconx.geometry.estimators.base import GeometryOptions
from reconx.ops.metrics import psnr, ssim
from reconx.ops.photos import resize_photos, select_photos
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.progress import SilentProgress
from reconx.render.points import render_scene
from reconx.training.cutting import ClipCutter, scene_of_depth
from reconx.training.options import ClipOptions, CloudOptions, DataOptions
from reconx.types import FILLED, Cameras, Scene
from reconx.video.backbones.small.backbone import WEIGHTS, SmallBackbone
from reconx.video.backbones.warp import WarpBackbone
from reconx.video.base import ClipRequest, GuidanceOptions
from reconx.video.registry import BACKBONES

FIRST_UNSEEN = 1_000_000
ROOM = Path("assets/sample-room")


class Unseen(NamedTuple):
    """Views that were held out."""

    name: str
    scene: Scene
    cameras: Cameras
    truth: Float[Tensor, "view height width 3"]


def procedural_rooms(count: int, side: int) -> Iterator[Unseen]:
    """Six views between two of each room."""
    data = DataOptions(kind="procedural", scenes=count, clips=count, first=FIRST_UNSEEN, frames=12)
    clip = ClipOptions(frames=8, width=side, height=side, skip=1, keyframes=0)
    cloud = CloudOptions(views=2, size=side)
    cutter = ClipCutter([data], clip, cloud, BACKBONES["small"], seed=0, device="cpu")
    for number in range(count):
        made = cutter.cut(number)
        yield Unseen("rooms", made.scene, made.cameras[list(range(1, 7))], made.frames[1:7])


def sample_room(side: int) -> Iterator[Unseen]:
    """The splits that come with it."""
    splits = json.loads((ROOM / "splits.json").read_text(encoding="utf-8"))
    folders = PosedFolders(ROOM)
    (name,) = folders.scenes()
    every = folders.read(name, range(folders.length(name)))
    depth = folders.read_depth(name, range(folders.length(name)))
    assert depth is not None, "the sample room comes with depth"
    height = round(side * every.height / every.width)
    photos = resize_photos(every, side, height)
    assert photos.prior is not None
    K, poses = photos.prior.K, photos.prior.camera_to_world
    assert K is not None
    assert poses is not None
    for split, told in splits.items():
        shown, held = (
            [photos.names.index(photo) for photo in told[part]] for part in ("context", "targets")
        )
        options = GeometryOptions(fit_size=side, geometry_size=side)
        scene = scene_of_depth(select_photos(photos, shown), [depth[i] for i in shown], options)
        world = Cameras(camera_to_world=poses[held], K=K[held], width=side, height=height)
        cameras = apply_sim3_to_cameras(scene.world_from_scene.inverse(), world)
        yield Unseen(f"sample room, {split}", scene, cameras, photos.images[held])


def compare(unseen: Unseen, small: SmallBackbone) -> dict[str, float | str]:
    """Both backbones' frames, whole and where no photo shows anything."""
    request = request_for(unseen.scene, unseen.cameras)
    blended = WarpBackbone(BACKBONES["warp"]).generate_clip(request, SilentProgress())
    made = small.generate_clip(request, SilentProgress())
    assert blended.confidence is not None
    hole = blended.confidence <= FILLED
    row: dict[str, float | str] = {"name": unseen.name, "covered": 1 - float(hole.float().mean())}
    for name, clip in (("warp", blended), ("small", made)):
        row[f"{name} psnr"] = psnr(clip.frames, unseen.truth)
        row[f"{name} ssim"] = ssim(clip.frames, unseen.truth)
        row[f"{name} psnr in holes"] = psnr(clip.frames, unseen.truth, hole)
    return row


def request_for(scene: Scene, cameras: Cameras) -> ClipRequest:
    """One clip without keyframes."""
    return ClipRequest(
        cameras=cameras,
        keyframes=(),
        renders=render_scene(scene, cameras),
        scene=scene,
        steps=1,
        guidance=GuidanceOptions(),
    )


def measure_cost(small: SmallBackbone, sides: list[int], runs: int) -> list[dict[str, float]]:
    """Processor seconds per frame of the sample room's path."""
    rows = []
    for side in sides:
        unseen = next(sample_room(side))
        request = request_for(unseen.scene, unseen.cameras[[0] * 6])
        calls = {"warp": WarpBackbone(BACKBONES["warp"]), "small": small}
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(runs + 1):
            for name, backbone in calls.items():
                began = time.process_time()
                backbone.generate_clip(request, SilentProgress())
                if turn > 0:
                    seconds[name].append((time.process_time() - began) / 6)
        best = {name: min(times) for name, times in seconds.items()}
        median = {f"{name} median": statistics.median(t) for name, t in seconds.items()}
        rows.append({"side": side, **best, **median, "ratio": best["small"] / best["warp"]})
    return rows


def mean_rows(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means by name."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    return {
        name: {
            key: round(statistics.mean(row[key] for row in rows if row["name"] == name), 4)
            for key in rows[0]
            if key != "name"
        }
        for name in names
    }


def main() -> None:
    """Compare, measure, print, and write the figures down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--rooms", type=int, default=32)
    parser.add_argument("--room-side", type=int, default=128, help="pixels of procedural rooms")
    parser.add_argument("--side", type=int, default=384, help="pixels of the sample room")
    parser.add_argument("--cost", type=int, nargs="*", default=[384, 832], help="widths to time")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    small = SmallBackbone(BACKBONES["small"], options.weights)
    unseen = [*procedural_rooms(options.rooms, options.room_side), *sample_room(options.side)]
    report = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "rooms": options.rooms,
        "unseen views": mean_rows([compare(views, small) for views in unseen]),
        "seconds per frame": measure_cost(small, options.cost, options.runs),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"small-model-{report['date']}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
