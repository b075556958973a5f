"""A fit's report as text."""

import json
from collections.abc import Mapping


def report_text(report: Mapping[str, object]) -> str:
    """`FitResult.report` as JSON for people and programs; numbers to four digits."""

    def rounded(number: str) -> float:
        return float(f"{float(number):.4g}")

    return json.dumps(json.loads(json.dumps(dict(report)), parse_float=rounded), indent=1)
