"""Meshes, materials and painted pictures for the sample room; knows Blender, but no furniture.

Every mesh goes through `Parts`, which stores three attributes per vertex: `tint` (linear colour),
`local` (coordinates in metres in the part's own frame, longest side first, so that wood grain runs
along every plank whatever way it lies) and `grain` (the same, moved by a random amount per part,
so that no two planks or books look alike). All materials are diffuse: a highlight moves with the
camera, and what moves cannot be matched between photos.
"""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector


def srgb(code: str) -> np.ndarray:
    """Read a hex code as an sRGB colour in [0, 1], as pictures are painted in."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255


def rgb(code: str) -> np.ndarray:
    """Read a hex code as a linear colour, as materials want it."""
    value = srgb(code)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def vary(rng: np.random.Generator, colour: np.ndarray, amount: float = 0.25) -> np.ndarray:
    """Scale a colour's brightness by up to `amount`, and each channel by a third of that."""
    return colour * (1 + rng.uniform(-amount, amount)) * (1 + rng.uniform(-1, 1, 3) * amount / 3)


def place(at: tuple = (0, 0, 0), turn: tuple = (0, 0, 0)) -> Matrix:
    """Build a placement from a position in metres and XYZ Euler angles in degrees."""
    return (
        Matrix.Translation(Vector(at)) @ Euler([math.radians(t) for t in turn]).to_matrix().to_4x4()
    )


WALNUT, OAK, PINE = rgb("8a5a3a"), rgb("b98a58"), rgb("d9b684")
CREAM, TEAL, RUST = rgb("eadfc8"), rgb("3f7f86"), rgb("c0603a")
MUSTARD, SAGE, PLUM = rgb("d9a23c"), rgb("8fa37c"), rgb("8a4f66")
NAVY, BRICK, WHITE = rgb("3d5576"), rgb("b0644a"), rgb("e8e4da")
BOOKS = [TEAL, RUST, MUSTARD, SAGE, PLUM, NAVY, CREAM, WHITE, BRICK, rgb("5c8f5a"), rgb("c98a8a")]


class Parts:
    """Collects parts of one material and joins them into a single object."""

    def __init__(self, rng: np.random.Generator, frame: Matrix | None = None) -> None:
        """Start empty; `frame` is where the following parts are placed and may be reassigned."""
        self.rng = rng
        self.frame = frame or Matrix.Identity(4)
        self._vertices, self._faces, self._local, self._tint, self._grain = [], [], [], [], []
        self._count = 0

    def add(self, vertices, faces, tint, where: Matrix | None = None, local=None) -> None:
        """Add one part: vertices in its own frame, faces as index tuples."""
        vertices = np.asarray(vertices, dtype=np.float64)
        world = np.array(self.frame @ (where or Matrix.Identity(4)))
        count = len(vertices)
        self._vertices.append(vertices @ world[:3, :3].T + world[:3, 3])
        self._faces += [tuple(self._count + i for i in face) for face in faces]
        self._local.append(np.asarray(vertices if local is None else local, dtype=np.float64))
        self._grain.append(self._local[-1] + self.rng.uniform(-20, 20, 3))
        self._tint.append(np.broadcast_to(np.append(tint, 1.0), (count, 4)))
        self._count += count

    def box(self, size, at, tint, turn=(0, 0, 0)) -> None:
        """Add a box of `size`, centred on `at`."""
        size = np.asarray(size, dtype=np.float64)
        corners = (
            np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size / 2
        )
        faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        local = corners[:, np.argsort(-size)]
        self.add(corners, faces, tint, place(at, turn), local)

    def soft(self, size, at, tint, turn=(0, 0, 0), power=6.0, pillow=0.0, steps=14) -> None:
        """Add an upholstered box, a superellipsoid; `pillow` in [0, 1] thins its rim."""
        size = np.asarray(size, dtype=np.float64)
        grid = np.tan(np.linspace(-1, 1, steps) * math.pi / 4)
        vertices, faces = [], []
        for axis in range(3):
            for sign in (-1, 1):
                start = len(vertices)
                for u in grid:
                    for v in grid:
                        point = np.empty(3)
                        point[axis], point[axis - 2], point[axis - 1] = sign, u, v * sign
                        vertices.append(point / (np.abs(point) ** power).sum() ** (1 / power))
                faces += [
                    tuple(start + k for k in (r * steps + c, r * steps + steps + c,
                                              r * steps + steps + c + 1, r * steps + c + 1))
                    for r in range(steps - 1) for c in range(steps - 1)
                ]  # fmt: skip
        vertices = np.array(vertices)
        rim = (1 - vertices[:, 0] ** 4) * (1 - vertices[:, 1] ** 4)
        vertices[:, 2] *= 1 - pillow + pillow * np.clip(rim, 0.02, None) ** 0.5
        vertices *= size / 2
        self.add(vertices, faces, tint, place(at, turn))

    def lathe(self, profile, at, tint, turn=(0, 0, 0), segments=40) -> None:
        """Add a turned part: `profile` lists (radius, height) from bottom to top."""
        angles = np.arange(segments) / segments * 2 * math.pi
        vertices = [(r * math.cos(a), r * math.sin(a), z) for r, z in profile for a in angles]
        faces = [
            (k * segments + i, k * segments + (i + 1) % segments,
             (k + 1) * segments + (i + 1) % segments, (k + 1) * segments + i)
            for k in range(len(profile) - 1) for i in range(segments)
        ]  # fmt: skip
        self.add(vertices, faces, tint, place(at, turn))

    def sheet(self, points: np.ndarray, tint, local=None, where: Matrix | None = None) -> None:
        """Add a grid of points (row, column, 3) as one surface."""
        rows, columns = points.shape[:2]
        faces = [
            (r * columns + c, r * columns + c + 1, (r + 1) * columns + c + 1, (r + 1) * columns + c)
            for r in range(rows - 1) for c in range(columns - 1)
        ]  # fmt: skip
        local = None if local is None else np.asarray(local).reshape(-1, 3)
        self.add(points.reshape(-1, 3), faces, tint, where, local)

    def leaf(self, where: Matrix, length, width, tint, droop=0.0, fold=0.15, steps=7) -> None:
        """Add a leaf that grows along +X from its stalk; its two halves differ in tint."""
        t = np.linspace(0, 1, steps)
        half = width / 2 * np.sin(math.pi * t**0.8) ** 0.85
        rise = -droop * length * t**2
        for side, shade in ((1, 1.12), (-1, 0.84)):
            spine = np.stack([t * length, 0 * t, rise], axis=1)
            edge = np.stack([t * length, side * half, rise + fold * half], axis=1)
            self.sheet(np.stack([spine, edge]), tint * shade, where=where)

    def build(self, name: str, material, bevel: float = 0.0, smooth: float | None = 40) -> None:
        """Make the Blender object; faces meeting at less than `smooth` degrees are shaded round."""
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata(np.concatenate(self._vertices).tolist(), [], self._faces)
        for key, kind, field, values in (
            ("tint", "FLOAT_COLOR", "color", self._tint),
            ("local", "FLOAT_VECTOR", "vector", self._local),
            ("grain", "FLOAT_VECTOR", "vector", self._grain),
        ):
            data = np.concatenate(values).astype(np.float32).ravel()
            mesh.attributes.new(key, kind, "POINT").data.foreach_set(field, data)
        mesh.materials.append(material)
        item = bpy.data.objects.new(name, mesh)
        bpy.context.scene.collection.objects.link(item)
        if smooth is not None:
            mesh.shade_smooth()
            mesh.set_sharp_from_angle(angle=math.radians(smooth))
        if bevel:
            modifier = item.modifiers.new("bevel", "BEVEL")
            modifier.width, modifier.segments, modifier.limit_method = bevel, 2, "ANGLE"


class Graph:
    """Writes a material's node graph as nested calls."""

    def __init__(self, name: str) -> None:
        """Create the material, empty but for its output."""
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()

    def node(self, kind: str, inputs: dict, out=0, **settings):
        """Add a node, set or link its inputs (by name or index) and return one output socket."""
        node = self.tree.nodes.new("ShaderNode" + kind)
        for key, value in settings.items():
            setattr(node, key, value)
        for key, value in inputs.items():
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[key])
            else:
                node.inputs[key].default_value = value
        return node.outputs[out]

    def attribute(self, name: str, out: str):
        """Read one of the attributes that `Parts` stores."""
        return self.node("Attribute", {}, out, attribute_name=name)

    def noise(self, vector, scale, detail=5.0, roughness=0.6, distortion=0.0):
        """Fractal noise, about 0.25 to 0.75."""
        inputs = {"Vector": vector, "Scale": scale, "Detail": detail}
        inputs |= {"Roughness": roughness, "Distortion": distortion}
        return self.node("TexNoise", inputs)

    def spread(self, value, low, high):
        """Map noise to [low, high]."""
        return self.node("MapRange", {0: value, 1: 0.3, 2: 0.7, 3: low, 4: high})

    def scaled(self, a, b):
        """Multiply vectors or colours."""
        return self.node("VectorMath", {0: a, 1: b}, operation="MULTIPLY")

    def ramp(self, value, palette, low=0.3, high=0.7, sharp=True):
        """Colour a noise value by a list of colours, in steps or smoothly."""
        socket = self.node("ValToRGB", {"Fac": value})
        ramp = socket.node.color_ramp
        ramp.interpolation = "CONSTANT" if sharp else "LINEAR"
        for k, colour in enumerate(palette):
            at = low + (high - low) * k / max(len(palette) - 1, 1)
            stop = ramp.elements[k] if k < 2 else ramp.elements.new(at)
            stop.position, stop.color = at, (*colour, 1)
        return socket

    def finish(self, colour, plain, height=None, bump=0.0, glow=0.0):
        """Close the graph with a diffuse surface or, with `glow`, a lamp of that strength.

        Light that has bounced once sees the `plain` colour: noise is what rendering time goes into,
        and its light is spread too widely for the difference to show.
        """
        if glow:
            shader = self.node("Emission", {"Color": colour, "Strength": glow})
        else:
            inputs = {"Color": colour}
            if bump:
                relief = {"Strength": bump, "Distance": 0.004, "Height": height}
                inputs["Normal"] = self.node("Bump", relief)
            seen = self.node("BsdfDiffuse", inputs)
            bounced = self.node("BsdfDiffuse", {"Color": plain})
            camera = self.node("LightPath", {}, "Is Camera Ray")
            shader = self.node("MixShader", {0: camera, 1: bounced, 2: seen})
        output = self.tree.nodes.new("ShaderNodeOutputMaterial")
        self.tree.links.new(shader, output.inputs["Surface"])
        return self.material


def surface(
    name: str,
    scale: float = 8.0,
    coarse: float = 0.25,
    fine: float = 0.2,
    stretch: tuple = (1, 1, 1),
    distortion: float = 0.4,
    pattern: str = "",
    palette: list | None = None,
    bump: float = 0.0,
    glow: float = 0.0,
):
    """Make a diffuse material: a pattern or the parts' tint, mottled by coarse and fine noise.

    Args:
        name: Name of the material.
        scale: Coarse noise features per metre; the fine noise has seven times as many.
        coarse: Relative brightness change by the coarse noise.
        fine: The same for the fine noise.
        stretch: Scale of the local axes; less than 1 draws the noise out, as in wood.
        distortion: How much the coarse noise is warped.
        pattern: "cells", "blotches", "stripes", "plaid", or "" for the parts' own tint.
        palette: Linear colours of the pattern.
        bump: Strength of the relief.
        glow: Strength as a lamp; 0 for an ordinary surface.
    """
    graph = Graph(name)
    grain = graph.attribute("grain", "Vector")
    stretched = graph.scaled(grain, stretch)
    large = graph.noise(stretched, scale, 5.0, 0.6, distortion)
    small = graph.noise(stretched, scale * 7, 4.0, 0.7)
    colour = graph.attribute("tint", "Color")
    if pattern == "cells":
        cells = graph.node("TexVoronoi", {"Vector": grain, "Scale": scale * 3}, "Color")
        colour = graph.ramp(cells, palette, 0.0, 0.8)
    elif pattern == "blotches":
        colour = graph.ramp(graph.noise(grain, scale, 4.0, 0.55, 1.2), palette)
    elif pattern in ("stripes", "plaid"):
        across = graph.noise(graph.scaled(grain, (1, 0.02, 0.02)), scale * 2, 3.0, 0.6)
        colour = graph.ramp(across, palette)
        if pattern == "plaid":
            along = graph.noise(graph.scaled(grain, (0.02, 1, 0.02)), scale * 2, 3.0, 0.6)
            other = graph.ramp(along, palette[::-1])
            colour = graph.node("Mix", {0: 0.5, 6: colour, 7: other}, 2, data_type="RGBA")
    value = graph.node(
        "Math",
        {
            0: graph.spread(large, 1 - coarse, 1 + coarse),
            1: graph.spread(small, 1 - fine, 1 + fine),
        },
        operation="MULTIPLY",
    )
    plain = (*np.mean(palette, axis=0), 1) if pattern else colour
    return graph.finish(graph.scaled(colour, value), plain, small, bump, glow)


def picture(name: str, pixels: np.ndarray, glow: float = 0.0):
    """Make a material that shows sRGB `pixels` (height, width, 3) where `local` is (u, v, 0)."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height)
    rgba = np.ones((height, width, 4), dtype=np.float32)
    rgba[..., :3] = np.clip(pixels[::-1], 0, 1)
    image.pixels.foreach_set(rgba.ravel())
    image.pack()
    graph = Graph(name)
    vector = graph.attribute("local", "Vector")
    node = graph.node("TexImage", {"Vector": vector}, image=image, extension="EXTEND")
    return graph.finish(node, node, glow=glow)


def fractal(rng: np.random.Generator, height: int, width: int, cells: int, octaves=6) -> np.ndarray:
    """Smooth random field with zero mean, and a standard deviation of one."""
    total = np.zeros((height, width))
    for octave in range(octaves):
        n = cells * 2**octave
        m = max(round(n * width / height), 1)
        knots = rng.normal(size=(n + 2, m + 2))
        y, x = np.linspace(0, n, height), np.linspace(0, m, width)
        j, i = y.astype(int), x.astype(int)
        v, u = (y - j)[:, None], (x - i)[None]
        v, u = v * v * (3 - 2 * v), u * u * (3 - 2 * u)
        low = knots[np.ix_(j, i)] * (1 - u) + knots[np.ix_(j, i + 1)] * u
        high = knots[np.ix_(j + 1, i)] * (1 - u) + knots[np.ix_(j + 1, i + 1)] * u
        total += (low * (1 - v) + high * v) * 0.55**octave
    return (total - total.mean()) / total.std()


def paint_landscape(
    rng: np.random.Generator, palette: list[str], height=300, width=400
) -> np.ndarray:
    """Paint hills under a cloudy sky; `palette` runs from the sky to the foreground."""
    tones = [srgb(code) for code in palette]
    rows = np.arange(height)[:, None]
    clouds = 1 / (1 + np.exp(-3 * fractal(rng, height, width, 2)))
    image = tones[0] + (tones[1] - tones[0]) * clouds[..., None]
    for k, tone in enumerate(tones[2:]):
        ridge = fractal(rng, height, width, 2)[height // 2]
        line = height * (0.38 + 0.62 * k / len(tones[2:])) + ridge * height * 0.06
        brush = fractal(rng, height, width, 8 + 6 * k)[..., None] * 0.07
        image = np.where((rows > line)[..., None], tone * (1 + brush * 1.6) + brush * 0.5, image)
    return image + rng.normal(size=(height, width, 1)) * 0.015


def paint_abstract(
    rng: np.random.Generator, palette: list[str], height=400, width=300
) -> np.ndarray:
    """Paint overlapping discs, bars and half moons on a mottled ground."""
    tones = [srgb(code) for code in palette]
    y, x = np.mgrid[:height, :width] / min(height, width)
    image = tones[0] + fractal(rng, height, width, 4)[..., None] * 0.05
    for _ in range(26):
        angle, size = rng.uniform(0, math.pi), rng.uniform(0.05, 0.28)
        dx, dy = x - rng.uniform(0, x.max()), y - rng.uniform(0, y.max())
        u, v = (
            dx * math.cos(angle) + dy * math.sin(angle),
            dy * math.cos(angle) - dx * math.sin(angle),
        )
        kind = rng.integers(3)
        disc = u * u + v * v < size * size
        inside = (disc, disc & (u > 0), (abs(u) < size * 1.4) & (abs(v) < size * 0.25))[kind]
        brush = 1 + fractal(rng, height, width, 10)[..., None] * 0.09
        image = np.where(inside[..., None], tones[rng.integers(1, len(tones))] * brush, image)
    return image + rng.normal(size=(height, width, 1)) * 0.015
