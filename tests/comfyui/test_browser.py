"""The pack as its users meet it: a real page of a running host, driven by a real browser.

With RECONX_SCREENSHOT=FILE the workflow runs as it is shipped, and a picture of the page is kept.
"""

import base64
import io
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfy_host import PACK, Host
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from reconx.export.ply import read_gaussians_ply
from reconx.export.splat_files import SPLAT_FORMATS, write_splats
from reconx.ops.metrics import psnr
from reconx.photos.decoding import decode_photo
from reconx.render.gaussians import render_gaussians
from reconx.types import Cameras

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: the dev extra")

pytestmark = pytest.mark.comfyui

SCREENSHOT = os.environ.get("RECONX_SCREENSHOT")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# WebGL in software and the rest of the page without, which is ten times faster than all in GL.
FLAGS = ("--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader-webgl")
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}

ROOM = Path(__file__).resolve().parents[2] / "assets" / "sample-room" / "images"
PHOTO_FOCAL_PX = 796.44
ASPECT = 4 / 3
"""Of the photos, and of the frame that the workflow gives the viewer."""
ALIKE = 0.8
"""A splat in the viewer is this like the photo, at least: 0.97 upright, -0.15 when turned over."""
TEMPLATE = "Photos to splat (no weights)"
VIEWER = "PreviewGaussianSplat"
GRAPH = {"x": 225, "y": 125, "width": 1475, "height": 820}
"""Where the page shows the graph, without the menus around it."""
SMALL = {
    "ReconX_LoadPhotos": {"max_size": 256},
    "ReconX_BuildPointCloud": {"size": 192, "depth_size": 192},
    "ReconX_CameraPath": {"frames": 5},
    "ReconX_CamerasToLoad3D": {"index": 2},
    "ReconX_FitGaussians": {"steps": 40},
}

SET_WIDGETS = """changes => {
  for (const [type, values] of Object.entries(changes)) {
    const node = app.graph.nodes.find(node => node.type === type);
    for (const [name, value] of Object.entries(values))
      node.widgets.find(widget => widget.name === name).value = value;
  }
}"""
FIND_VIEWER = """name => {
  const {pos: [x, y], size: [width, height]} =
    app.graph.nodes.find(node => node.type === name || node.title === name);
  const centre = app.canvas.convertOffsetToCanvas([x + width / 2, y + height / 2]);
  const layers = document.elementsFromPoint(...centre);
  return layers.find(layer => layer.tagName === "CANVAS" && layer.id !== "graph-canvas");
}"""
# Side by side and alone on the page, one node per file of the input folder. Their numbers are new,
# since the page would show them what nodes of the same number have put out.
ADD_VIEWERS = """files => {
  app.graph.clear();
  app.canvas.ds.reset();
  files.forEach((file, index) => {
    const node = LiteGraph.createNode("Load3D");
    node.id = 1000 + index;
    node.title = file;
    node.pos = [100 + 580 * index, 100];
    node.size = [540, 700];
    app.graph.add(node);
  });
}"""
CHOOSE_FILE = """file => {
  const node = app.graph.nodes.find(node => node.title === file);
  const widget = node.widgets.find(widget => widget.name === "model_file");
  widget.value = file;
  widget.callback(file);
}"""
# From the camera that the graph gave the viewer to the one that the user has posed in it.
ADD_POSED_PATH = """() => {
  const find = type => app.graph.nodes.find(node => node.type === type);
  const add = (type, values) => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    for (const [name, value] of Object.entries(values))
      node.widgets.find(widget => widget.name === name).value = value;
    return node;
  };
  const link = (from, output, to, input) =>
    from.connect(from.findOutputSlot(output), to, to.findInputSlot(input));
  const viewer = find("PreviewGaussianSplat");
  viewer.disconnectInput(viewer.findInputSlot("camera_info"));
  const path = add("ReconX_CameraPath", {frames: 2, kind: "keyframes"});
  const film = add("ReconX_RenderGaussians", {});
  const frames = add("PreviewImage", {});
  link(find("ReconX_BuildPointCloud"), "scene", path, "scene");
  link(find("ReconX_CamerasToLoad3D"), "camera_info", path, "keyframes.keyframe0");
  link(viewer, "camera_info", path, "keyframes.keyframe1");
  link(find("ReconX_FitGaussians"), "splat", film, "splat");
  link(path, "cameras", film, "cameras");
  link(film, "images", frames, "images");
  return String(frames.id);
}"""


@dataclass(frozen=True)
class Ran:
    """A prompt queued from the page, after its end."""

    prompt: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]

    def only(self, class_type: str) -> str:
        """The id of the one node of a type."""
        (id,) = (id for id, node in self.prompt.items() if node["class_type"] == class_type)
        return id

    def viewer_camera(self) -> dict[str, Any]:
        """The camera that the viewer told when the prompt was queued."""
        return self.prompt[self.only(VIEWER)]["inputs"]["viewport_state"]["camera_info"]


class Canvas:
    """The host's page with one workflow on it."""

    def __init__(self, page: Any, host: Host) -> None:
        self.page = page
        self._host = host

    def open_template(self, title: str) -> None:
        """Choose a workflow in the template browser, as a user does."""
        self.page.get_by_role("button", name="Templates").click()
        self.page.get_by_placeholder("Search").first.fill(title)
        self.page.get_by_test_id(f"template-workflow-{title}").click()
        self.page.wait_for_function(
            "type => app.graph.nodes.some(node => node.type === type)", arg=VIEWER
        )

    def run(self, timeout: float) -> Ran:
        """Press Run and wait for the end."""
        with self.page.expect_response("**/prompt") as answer:
            self.page.get_by_test_id("queue-button").first.click()
        id = answer.value.json()["prompt_id"]
        wait_until(lambda: self._host.history(id) is not None, timeout)
        row = self._host.history(id)
        assert row is not None, f"the run has not ended in {timeout:.0f} s"
        assert row["status"]["status_str"] == "success", row["status"]["messages"]
        return Ran(row["prompt"][2], row["outputs"])

    def viewer(self, name: str = VIEWER) -> Any:
        """A viewer's picture on the page, by its node's type or title."""
        return self.page.evaluate_handle(FIND_VIEWER, name).as_element()

    def viewer_picture(self, name: str = VIEWER) -> Image.Image:
        """What a viewer shows within its frame."""
        url = self.viewer(name).evaluate("canvas => canvas.toDataURL()")
        picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
        return cut_centre(picture, min(picture.height, picture.width / ASPECT))

    def drag_viewer(self, right: int, down: int) -> None:
        """Turn the splat viewer with the mouse."""
        box = self.viewer().bounding_box()
        start = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(start[0] + right, start[1] + down, steps=5)
        self.page.mouse.up()
        # Only under the mouse does it draw, and so drift on.
        self.page.mouse.move(5, start[1])


@pytest.fixture(scope="module")
def canvas(host: Host) -> Iterator[Canvas]:
    """A page of the host in a browser, still empty."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs one of these browsers: {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(300_000)
        page.route("**/api/workflow_templates", keep_own_templates)
        page.request.post(f"{host.address}api/settings", data=SETTINGS)
        page.goto(host.address)
        yield Canvas(page, host)
        browser.close()


def keep_own_templates(route: Any) -> None:
    """Answer as where no other copy of the pack, with templates of the same names, lies beside."""
    answer = route.fetch()
    route.fulfill(response=answer, json={PACK.name: answer.json()[PACK.name]})


@pytest.fixture(scope="module")
def shown(canvas: Canvas) -> Ran:
    """The shipped workflow, run from the page."""
    canvas.open_template(TEMPLATE)
    if not SCREENSHOT:
        canvas.page.evaluate(SET_WIDGETS, SMALL)
    return canvas.run(timeout=1800)


def test_the_splat_stands_upright_in_the_viewer(canvas: Canvas, shown: Ran) -> None:
    half_angle = math.radians(shown.viewer_camera()["fov"]) / 2
    with Image.open(ROOM / "middle.jpg") as photo:
        expected = cut_centre(photo, 2 * PHOTO_FOCAL_PX * math.tan(half_angle))
    # The graph puts the viewer's camera where the middle photo was taken.
    wait_until(lambda: likeness(canvas.viewer_picture(), expected) > ALIKE, 120)
    assert likeness(canvas.viewer_picture(), expected) > ALIKE
    if SCREENSHOT:
        canvas.page.screenshot(path=SCREENSHOT, type="jpeg", quality=85, clip=GRAPH)


def test_a_camera_posed_with_the_mouse_arrives_in_the_world(
    host: Host, canvas: Canvas, shown: Ran
) -> None:
    before = canvas.viewer_picture()
    canvas.drag_viewer(right=40, down=15)
    posed = canvas.viewer_picture()
    assert likeness(posed, before) < ALIKE
    frames = canvas.page.evaluate(ADD_POSED_PATH)
    ran = canvas.run(timeout=120)
    _, frame = host.files(ran.outputs[frames])
    with Image.open(frame) as picture:
        assert likeness(picture, posed) > ALIKE
    (splat,) = host.files(ran.outputs[ran.only("SaveGaussianSplat")])
    gaussians = read_gaussians_ply(splat)
    film = decode_photo(frame, frame.name, 4096).image

    def psnr_from(shift: Float[Tensor, "3"]) -> float:
        """How well the splat fits the film when seen from where the viewer's camera is, shifted."""
        camera = world_camera(ran.viewer_camera(), shift, film.shape[1], film.shape[0])
        with torch.no_grad():
            drawn = render_gaussians(gaussians, camera)
        return float(psnr(drawn.colour[0].clamp(0, 1), film))

    # A camera that is off by 1 % of its distance, to any side, shows another picture.
    aside = [psnr_from(side * axis) for axis in torch.eye(3) for side in (-0.01, 0.01)]
    assert psnr_from(torch.zeros(3)) > 40 > max(aside)


def test_every_format_of_a_splat_looks_the_same(
    host: Host, canvas: Canvas, shown: Ran, inputs: Path
) -> None:
    (splat,) = host.files(shown.outputs[shown.only("SaveGaussianSplat")])
    write_splats(inputs / "3d" / "room", read_gaussians_ply(splat), tuple(SPLAT_FORMATS))
    files = [f"3d/room.{name}" for name in SPLAT_FORMATS]
    canvas.page.evaluate(ADD_VIEWERS, files)
    canvas.page.wait_for_function(f"() => {files}.every(name => ({FIND_VIEWER})(name))")

    def shows(file: str) -> bool:
        # Before a file is there, its viewer shows a grey grid.
        return saturation(canvas.viewer_picture(file)) > 0.05

    for file, _ in product(files, range(6)):
        if not shows(file):
            # A viewer that is still being made may overlook it.
            canvas.page.evaluate(CHOOSE_FILE, file)
            wait_until(lambda file=file: shows(file), 20)
    assert [file for file in files if not shows(file)] == []
    exact, *rounded = (canvas.viewer_picture(file) for file in files)
    for picture in rounded:
        assert likeness(picture, exact) > 0.99
        assert likeness(picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM), exact) < 0.9


def saturation(picture: Image.Image) -> float:
    """How colourful a picture is in the mean: 0 grey, 1 pure colours."""
    return float(np.asarray(picture.convert("HSV"))[..., 1].mean() / 255)


def world_camera(
    camera: dict[str, Any], shift: Float[Tensor, "3"], width: int, height: int
) -> Cameras:
    """A viewer's camera in the world, by hand: Y and Z change their sign, and nothing else.

    The shift is in units of the distance between the camera and what it turns about.
    """
    flip = torch.tensor([1.0, -1.0, -1.0])
    position, target = (
        torch.tensor([camera[name][axis] for axis in "xyz"]) * flip
        for name in ("position", "target")
    )
    ahead = target - position
    distance = torch.linalg.vector_norm(ahead)
    forward = ahead / distance
    right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), forward)
    right = right / torch.linalg.vector_norm(right)
    pose = torch.eye(4)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    pose[:3, 3] = position + distance * shift
    focal = height / 2 / math.tan(math.radians(camera["fov"]) / 2)
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Cameras(camera_to_world=pose[None], K=K[None], width=width, height=height)


def likeness(first: Image.Image, second: Image.Image) -> float:
    """Correlation of two pictures' brightness, without their finer detail: at most 1."""
    coarse = (np.asarray(each.convert("L").resize((48, 36))).ravel() for each in (first, second))
    return float(np.corrcoef(*coarse)[0, 1])


def cut_centre(picture: Image.Image, height: float) -> Image.Image:
    """The middle of a picture, this many pixels high."""
    x, y, width = picture.width / 2, picture.height / 2, height * ASPECT
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return picture.crop(tuple(map(round, box)))


def wait_until(happens: Callable[[], bool], timeout: float) -> None:
    """Look twice a second, no longer than this many seconds."""
    end = time.monotonic() + timeout
    while not happens() and time.monotonic() < end:
        time.sleep(0.5)
