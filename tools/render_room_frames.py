"""Render the frames of the sample room that `benchmarks/corrupted_frames.py` corrupts.

Small pictures along a path that leaves what two photos show, to the right, as a video model would
film it; and three pictures beside that path to judge by. Blender as in `render_samples.py`:

    blender-env/bin/python tools/render_room_frames.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy
from render_samples import (
    FOCAL_PX,
    HEIGHT,
    WIDTH,
    look_at,
    render_photo,
    set_up_rendering,
    write_json,
)
from sample_room_scene import build_room

CONTEXT = {
    "left": ((-0.90, -3.12, 1.52), (-0.10, 0.55, 1.02)),
    "middle": ((0.04, -3.25, 1.47), (0.02, 0.55, 1.04)),
}
FRAMES = 8
TARGETS = {
    "target-1": ((0.50, -3.05, 1.56), (0.42, 0.55, 0.98)),
    "target-2": ((0.95, -2.95, 1.42), (0.72, 0.55, 1.06)),
    "target-3": ((1.40, -2.80, 1.58), (1.05, 0.55, 1.00)),
}


def frame_camera(index: int) -> tuple:
    """Position and target of a frame: an arc to the right that turns to the right as well."""
    share = (index + 0.5) / FRAMES
    position = (0.04 + 1.75 * share, -3.25 + 0.62 * share**2, 1.47 + 0.06 * share)
    return position, (0.05 + 1.20 * share, 0.55, 1.03)


def main() -> None:
    """Build the room and write pictures, cameras and the split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "benchmarks" / "data" / "sample-room-frames"
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--percent", type=int, default=25, help="size of the pictures")
    args = parser.parse_args()
    (args.output / "images").mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    set_up_rendering(args.samples, args.percent)
    build_room()
    frames = {f"frame-{index}": frame_camera(index) for index in range(FRAMES)}
    places = {**CONTEXT, **frames, **TARGETS}
    scale = args.percent / 100
    lens = {
        "fl_x": FOCAL_PX * scale,
        "fl_y": FOCAL_PX * scale,
        "cx": WIDTH * scale / 2,
        "cy": HEIGHT * scale / 2,
        "w": round(WIDTH * scale),
        "h": round(HEIGHT * scale),
    }
    rows = []
    for name, place in places.items():
        pose = look_at(*place)
        render_photo(name, pose, args.output, quality=90)
        matrix = [[round(value, 9) for value in row] for row in pose]
        rows.append({"file_path": f"images/{name}.jpg", **lens, "transform_matrix": matrix})
    write_json(args.output / "transforms.json", {"camera_model": "PINHOLE", "frames": rows})


if __name__ == "__main__":
    main()
