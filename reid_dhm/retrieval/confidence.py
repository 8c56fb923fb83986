"""How far a figure may lie from its value over other people: bootstrap intervals.

Queries of one person are answered alike, so people are resampled, not queries.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: over the queries as they are.
        low, high: ends of the interval; the value lies between them.
        level: probability that the interval is made for, e.g. 0.95.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
