"""What a camera path is, and what can be asked of one."""

from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Int
from torch import Tensor

from ..checks import check_choice, check_range, check_shape
from ..errors import InputError
from ..ops.sim3 import apply_sim3_to_cameras
from ..types import Cameras, Sim3
from .frame_rule import FRAME_STEPS, FrameRule


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOptions:
    """How one photo's camera moves, for the kinds of `moves.MOVES`."""

    photo: int = 0
    """Whose camera sets off; index among the scene's photos."""
    amplitude: int | float = 0.2
    """How far, in units of focus depth: the median depth of what the photo sees. Negative goes the
    other way. A zoom enlarges as a dolly of the same amplitude does; a roll ignores it."""
    turns: int | float = 2.0
    """Rounds of a spiral."""
    degrees: int | float = 15.0
    """How far a roll turns; 360 is a full round."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_range("Path photo", self.photo, 0)
        check_range("Path amplitude", self.amplitude, -20, 20)
        check_range("Path turns", self.turns, 0, 100)
        check_range("Path degrees", self.degrees, -360, 360)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOptions:
    """Which way the camera goes, how long, and at what size."""

    kind: str = "interpolate"
    """A key of `path.KINDS`."""
    frames: int = 48
    """Cameras of the path, captured ones included."""
    frame_rule: FrameRule = "any"
    """What a video model can take; other counts are rounded up."""
    width: int | None = None
    """Pixels; None follows `height` and the photos' shape, or the photos' size."""
    height: int | None = None
    """Pixels; None follows `width` and the photos' shape, or the photos' size."""
    loop: bool = False
    """Whether the first camera follows on the last, without being repeated."""
    easing: Literal["linear", "smooth"] = "linear"
    """"linear" goes evenly; "smooth" sets off and arrives slowly."""
    orbit_degrees: float = 15.0
    """How far an orbit sways to each side; 180 with `loop` is a full circle."""
    orbit_radius: float = 1.0
    """Distance from the focus as a share of the captured cameras' mean distance."""
    move: MoveOptions | None = None
    """How far the kinds of `moves.MOVES` go, and from where; None takes the defaults."""
    keyframes: Cameras | None = None
    """Cameras in the user's world that the kind "keyframes" visits, in order: at least two. Of any
    size; another shape than the path's is cropped about the centre."""

    def __post_init__(self) -> None:
        """Check values; `kind` is checked where the kinds are known."""
        check_range("Path frames", self.frames, 1)
        check_choice("Frame rule", self.frame_rule, tuple(FRAME_STEPS))
        check_choice("Path easing", self.easing, ("linear", "smooth"))
        check_range("Orbit degrees", self.orbit_degrees, 0, 180)
        check_range("Orbit radius", self.orbit_radius, 0.05, 20)
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None:
                check_range(f"Path {name}", side, 8)
        posed = 0 if self.keyframes is None else len(self.keyframes)
        if self.kind == "keyframes" and posed < 2:
            raise InputError(
                f"A path of the kind 'keyframes' visits at least 2 posed cameras; got {posed}. "
                "Pose more, or choose the kind 'interpolate' or 'orbit'."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPath:
    """Cameras in the order of the frames, and which of them are photos."""

    cameras: Cameras
    """One per frame, in the scene's frame."""
    photo_index: Int[Tensor, " frame"]
    """Which photo's camera a frame has, exactly; -1 = none."""
    loop: bool = False
    """Whether the first camera follows on the last."""
    world_from_scene: Sim3 = field(default_factory=Sim3.identity)
    """Leads from the scene's frame to the user's world, in which splats are exported."""

    def __post_init__(self) -> None:
        """Check that both parts have one length."""
        check_shape("CameraPath.photo_index", self.photo_index, len(self.cameras))

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.cameras)

    @property
    def world_cameras(self) -> Cameras:
        """The same cameras in the user's world."""
        return apply_sim3_to_cameras(self.world_from_scene, self.cameras)
