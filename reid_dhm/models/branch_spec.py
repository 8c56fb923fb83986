"""Where a side branch leaves the trunk, as configurations and model cards say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BranchSpec:
    """Where a branch leaves the trunk how its blocks start, and how long and wide they are.

    Attributes:
        after: name of the stage it forks after.
        init: ``fresh`` (random) or ``copy`` (of the matching blocks of the trunk, and of its
            native embedding layer where a head without a neck uses it).
        rule: ``light`` or ``reference``, see :mod:`reid_dhm.models.pathways`.
    """

    after: str
    init: str = "fresh"
    rule: str = "light"
