"""What is audited of the rows of a batch, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROW_COUNT = "row_count"
NO_NULLS = "no_nulls"
UNIQUE = "unique"
WITHIN_DAY = "within_day"
COMMITTED = "committed"

AUDITS = {
    ROW_COUNT: "The lake gets as many rows as PostgreSQL has in the interval.",
    NO_NULLS: "No column that must have a value lacks one.",
    UNIQUE: "No key comes twice, and the rows are in order.",
    WITHIN_DAY: "Every row is of the partition's UTC day.",
    COMMITTED: "The commit, where it was published from, has the batch's rows more than before.",
}
"""Name → what it says where it passes."""


@dataclass(frozen=True)
class Finding:
    """What one audit came to."""

    audit: str
    passed: bool
    details: dict[str, Any]


class AuditFailed(Exception):
    """The rows of an interval are not what they should be, and nothing was published."""

    def __init__(self, findings: Sequence[Finding], *, kept_as: str | None = None) -> None:
        """
        Args:
            kept_as: name of the branch that has what was not published.
        """
        self.findings = tuple(findings)
        failed = [each for each in findings if not each.passed]
        message = "; ".join(f"{each.audit}: {each.details}" for each in failed)
        super().__init__(message if kept_as is None else f"{message}; see branch {kept_as}")
