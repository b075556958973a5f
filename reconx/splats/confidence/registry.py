"""All sources of confidence."""

from typing import Any

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


def make_source(name: str, **own: Any) -> ConfidenceSource:
    """Build a registered source of confidence.

    Args:
        name: As in `SOURCES`.
        own: What this one takes: "agreement" a `device`, "pairwise" a `model`.

    Raises:
        InputError: If the name is unknown.
    """
    return load_part("Confidence source", SOURCES, name, RENAMED)(**own)
