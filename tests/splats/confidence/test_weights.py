import math

import pytest
import torch

from reconx.errors import InputError
from reconx.splats.confidence.weights import weights_from_confidence


def test_no_evidence_weighs_nothing_and_the_reference_weighs_one():
    weights = weights_from_confidence(torch.tensor([1.0, math.sqrt(10), 10.0, 500.0]))
    torch.testing.assert_close(weights, torch.tensor([0.0, 0.5, 1.0, 1.0]))


@pytest.mark.parametrize("confidence", [0.5, math.nan])
def test_confidence_below_one_is_refused(confidence: float):
    with pytest.raises(InputError, match="expected at least 1 everywhere"):
        weights_from_confidence(torch.tensor([3.0, confidence]))


def test_reference_must_exceed_one():
    with pytest.raises(InputError, match=r"Reference confidence is 1; expected a number above 1"):
        weights_from_confidence(torch.ones(2), reference=1.0)
