"""What the nodes' schemas have in common: where they stand in the menu, and recurring inputs."""

from functools import partial

from .runtime import DTYPES
from .sockets import io

node_schema = partial(io.Schema, category="ReconX", is_experimental=True)
"""A schema of this pack; takes what `io.Schema` takes. Experimental until ids freeze at 0.1.0."""


def seed_input(tooltip: str) -> io.Int.Input:
    """The seed of a node; it stays when a run has ended, so that nothing runs again by itself."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFF,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip=tooltip,
    )


def dtype_input(tooltip: str) -> io.Combo.Input:
    """The precision of weights that `runtime.host_dtype` understands."""
    return io.Combo.Input("dtype", options=["auto", *DTYPES], default="auto", tooltip=tooltip)


def long_side_input(name: str, tooltip: str, *, default: int, most: int) -> io.Int.Input:
    """To how many pixels pictures are shrunk along their longer side."""
    return io.Int.Input(name, default=default, min=64, max=most, step=16, tooltip=tooltip)
