"""Nessie's branches, over its REST API (https://projectnessie.org/nessie-latest/api/).

PyIceberg reads and writes tables of a branch when the branch stands in the catalog's address;
making, comparing and merging branches is Nessie's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import requests

MAIN = "main"
_SECONDS = 30.0


class NessieError(Exception):
    """Nessie refused a request, or cannot be reached."""


class NoSuchReference(NessieError):
    """There is no such branch, or it had no such commit."""


class MergeConflict(NessieError):
    """What the branch changed has changed on the target too."""


@dataclass(frozen=True)
class Branch:
    """A branch and the commit that it is at."""

    name: str
    hash: str


@dataclass(frozen=True)
class Difference:
    """A table that two branches do not have alike."""

    table: str
    change: str
    """`added`, `removed` or `changed`, seen from the first branch."""


@dataclass(frozen=True)
class NessieBranches:
    """The branches of one Nessie server."""

    url: str
    """Of the server, without `/api` or `/iceberg`."""

    def find_all(self) -> list[Branch]:
        """Return all branches, `main` first."""
        pages = self._pages("trees")
        branches = [_branch(each) for each in pages if each["type"] == "BRANCH"]
        return sorted(branches, key=lambda branch: (branch.name != MAIN, branch.name))

    def get(self, name: str) -> Branch:
        """Return the branch `name`.

        Raises:
            NoSuchReference: there is none.
        """
        return _branch(self._call("GET", f"trees/{_quote(name)}")["reference"])

    def create(self, name: str, source: Branch) -> Branch:
        """Make a branch at the commit of `source`.

        Raises:
            NessieError: there is one of that name.
        """
        answer = self._call(
            "POST",
            "trees",
            params={"name": name, "type": "BRANCH"},
            json={"type": "BRANCH", "name": source.name, "hash": source.hash},
        )
        return _branch(answer["reference"])

    def delete(self, branch: Branch) -> None:
        """Delete the branch, which must be at that commit still.

        Raises:
            NessieError: it is not.
        """
        self._call("DELETE", f"trees/{_quote(branch.name)}@{branch.hash}")

    def merge(self, branch: Branch, target: str = MAIN) -> None:
        """Bring what `branch` changed to the branch `target`.

        Raises:
            MergeConflict: a table was changed on both; nothing was merged.
        """
        into = self.get(target)
        self._call(
            "POST",
            f"trees/{_quote(into.name)}@{into.hash}/history/merge",
            json={"fromRefName": branch.name, "fromHash": branch.hash},
        )

    def diff(self, name: str, other: str = MAIN) -> list[Difference]:
        """Return the tables that `name` and `other` do not have alike."""
        path = f"trees/{_quote(other)}/diff/{_quote(name)}"
        differences = []
        for each in self._pages(path, "diffs"):
            table = ".".join(each["key"]["elements"])
            before, after = each.get("from"), each.get("to")
            change = "changed" if before and after else "added" if after else "removed"
            differences.append(Difference(table, change))
        return sorted(differences, key=lambda difference: difference.table)

    def commit_at(self, moment: datetime, name: str = MAIN) -> Branch:
        """Return the branch `name` at its last commit up to `moment`.

        Raises:
            NoSuchReference: it has no commit that old.
        """
        stamp = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        answer = self._call(
            "GET",
            f"trees/{_quote(name)}/history",
            params={
                "filter": f"timestamp(commit.commitTime) <= timestamp('{stamp}')",
                "max-records": "1",
            },
        )
        if not answer["logEntries"]:
            raise NoSuchReference(f"{name} has no commit up to {stamp}")
        return Branch(name, answer["logEntries"][0]["commitMeta"]["hash"])

    def find_table_versions(self, table: Sequence[str], since: datetime) -> dict[str, list[str]]:
        """Return where the table's metadata lay on each branch and tag, newest first.

        These are the versions that somebody can come to who looks at a branch's or tag's state at
        any moment from `since` on; a reference that never had the table is left out.
        """
        versions = {}
        for reference in self._pages("trees"):
            if found := list(self._find_versions(reference["name"], list(table), since)):
                versions[reference["name"]] = found
        return versions

    def _find_versions(self, name: str, table: list[str], since: datetime) -> Iterator[str]:
        for entry in self._pages(f"trees/{_quote(name)}/history", "logEntries", fetch="ALL"):
            for operation in entry.get("operations") or ():
                if operation["key"]["elements"] == table and operation["type"] == "PUT":
                    yield operation["content"]["metadataLocation"]
                    if datetime.fromisoformat(entry["commitMeta"]["commitTime"]) <= since:
                        return

    def _pages(
        self, path: str, key: str = "references", **parameters: str
    ) -> Iterator[dict[str, Any]]:
        while True:
            answer = self._call("GET", path, params=parameters)
            yield from answer[key]
            if not answer.get("hasMore"):
                return
            parameters["page-token"] = answer["token"]

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = requests.request(
                method, f"{self.url.rstrip('/')}/api/v2/{path}", timeout=_SECONDS, **arguments
            )
        except requests.RequestException as error:
            raise NessieError(f"Nessie does not answer: {error}") from error
        if response.ok:
            return response.json() if response.content else None
        try:
            reason = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            reason = response.text[:500]
        if response.status_code == requests.codes.not_found:
            raise NoSuchReference(reason)
        if response.status_code == requests.codes.conflict:
            raise MergeConflict(reason)
        raise NessieError(f"{response.status_code}: {reason}")


def _branch(reference: dict[str, Any]) -> Branch:
    return Branch(reference["name"], reference["hash"])


def _quote(name: str) -> str:
    return quote(name, safe="")
