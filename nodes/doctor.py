"""The node that tells what the installation can do."""

import time

from ..reconx.doctor import describe_system
from .runtime import NodeProgress, host_device, host_version, library_call
from .schema import node_schema
from .sockets import io, ui


class Doctor(io.ComfyNode):
    """Nothing -> a report on this installation."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node to the host."""
        return node_schema(
            node_id="ReconX_Doctor",
            display_name="ReconX Doctor",
            description=(
                "Versions, device, rasterizer, estimators and video backbones: what works here, "
                "and the exact command for what is missing. Put it into every bug report."
            ),
            search_aliases=["diagnose", "version", "install", "requirements", "missing", "debug"],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[],
            outputs=[io.String.Output("report", tooltip="The report as text.")],
        )

    @classmethod
    def fingerprint_inputs(cls) -> float:
        """Look anew every time: packages come and go."""
        return time.time()

    @classmethod
    @library_call
    def execute(cls) -> io.NodeOutput:
        """Write the report."""
        device = host_device()
        report = f"ComfyUI {host_version()}, device {device}\n{describe_system(device)}"
        NodeProgress(cls.hidden.unique_id).say(report)
        return io.NodeOutput(report, ui=ui.PreviewText(report))
