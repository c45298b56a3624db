"""What is audited of the rows of a batch, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROW_COUNT = "row_count"
NO_NULLS = "no_nulls"
UNIQUE = "unique"
WITHIN_DAY = "within_day"

AUDITS = {
    ROW_COUNT: "The lake gets as many rows as PostgreSQL has in the interval.",
    NO_NULLS: "No column that must have a value lacks one.",
    UNIQUE: "No key comes twice, and the rows are in order.",
    WITHIN_DAY: "Every row is of the partition's UTC day.",
}
"""Name → what it says where it passes."""


@dataclass(frozen=True)
class Finding:
    """What one audit came to."""

    audit: str
    passed: bool
    details: dict[str, Any]


class AuditFailed(Exception):
    """The rows of an interval are not what they should be, and nothing was committed."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        failed = [each for each in findings if not each.passed]
        super().__init__("; ".join(f"{each.audit}: {each.details}" for each in failed))
