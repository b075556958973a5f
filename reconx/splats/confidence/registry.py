"""All sources of confidence."""

from ...parts import PartSpec, load_part
from .base import ConfidenceSource

SOURCES: dict[str, PartSpec] = {
    "agreement": PartSpec(
        name="agreement",
        factory=".splats.confidence.agreement:AgreementSource",
        summary="Compares frames with the photos and with each other; needs no weights.",
    ),
    "pairwise": PartSpec(
        name="pairwise",
        factory=".splats.confidence.pairwise:PairwiseSource",
        licence="CC BY-NC-SA 4.0",
        summary="Matches pairs by a pointmap network, as in the paper; needs its checkpoint.",
    ),
}

RENAMED: dict[str, str] = {}


def make_source(name: str, *, device: str = "cpu", model: object = None) -> ConfidenceSource:
    """Build a registered source of confidence.

    Args:
        name: As in `SOURCES`.
        device: Of the work, for a source without a network.
        model: The network at hand, on a device of its own; a source without one leaves it alone.

    Raises:
        InputError: If the name is unknown, or the source asks a network of another kind.
    """
    return load_part("Confidence source", SOURCES, name, RENAMED)(device=device, model=model)
