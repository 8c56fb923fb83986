"""What a grid file asks for: its conditions, seeds and run folders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from reid_dhm.config import Config, load_config
from reid_dhm.config.reading import find_config, read_mapping
from reid_dhm.errors import InputError

_KEYS = {"config", "output", "set", "grid", "variants", "seeds"}
_MOST = 1000  # runs


@dataclass(frozen=True)
class PlannedRun:
    """One training of a grid.

    Attributes:
        condition: what it differs in from other conditions.
        seed: its seed; runs of one seed are paired.
        folder: its run folder.
        overrides: ``key=value`` for ``reid-dhm train``, without ``output`` and ``resume``.
        config: as resolved.
    """

    condition: str
    seed: int
    folder: Path
    overrides: tuple[str, ...]
    config: Config


@dataclass(frozen=True)
class Plan:
    """All runs of a grid.

    Attributes:
        source: the grid file.
        base: the configuration that all runs change.
        folder: holds the run folders and the report.
        conditions: in order; the first is the reference of all differences.
        runs: in the order they are run: all conditions of the first seed, then of the next.
    """

    source: Path
    base: Path
    folder: Path
    conditions: tuple[str, ...]
    runs: tuple[PlannedRun, ...]

    def of(self, condition: str) -> list[PlannedRun]:
        """The runs of one condition, by seed."""
        return [run for run in self.runs if run.condition == condition]


def read_plan(path: Path) -> Plan:
    """Read a grid file::

        config: market1501_mobilenetv2_cpu   # a name, or a file beside this one
        output: runs/market                  # runs/<name of this file> by default
        set: {data.root: /data}              # keys of every run
        grid: {method: [baseline, dsl, dhm]} # every combination of the values
        variants:                            # or by name, each with its keys
          teacher: {loss.teacher: teacher.xml}
        seeds: [0, 1, 2]

    Raises:
        NotFoundError: the file or its configuration does not exist.
        InputError: an unknown key, no values, or two runs that are the same.
    """
    content = read_mapping(path)
    if unknown := sorted(content.keys() - _KEYS):
        raise InputError(
            f"{path}: unknown key {unknown[0]!r:.60}: use {', '.join(sorted(_KEYS))}; keys of the "
            "configuration go under set, grid or variants"
        )
    try:
        json.dumps(content)
    except (TypeError, ValueError) as error:  # YAML has dates, sets and bytes
        raise InputError(
            f"{path}: a value is no text, number or list ({error}): quote it"
        ) from None
    beside = path.parent / str(content.get("config", ""))
    base = beside if beside.is_file() else find_config(str(content.get("config", "")))
    folder = Path(str(content.get("output") or Path("runs") / path.stem))
    seeds = _seeds(path, content.get("seeds", [0]))
    common = _mapping(path, "set", content.get("set"))
    _refuse_own_keys(path, "set", common)
    conditions = _conditions(path, content)
    if len(conditions) * len(seeds) > _MOST:
        raise InputError(f"{path}: {len(conditions) * len(seeds)} runs: at most {_MOST}")
    runs = []
    for seed in seeds:
        for name, keys in conditions.items():
            given = {**common, **keys, "seed": seed}
            overrides = tuple(f"{key}={json.dumps(value)}" for key, value in given.items())
            place = folder / f"{_file_name(name)}_s{seed}"
            config = load_config(base, [*overrides, f"output={json.dumps(str(place))}"])
            runs.append(PlannedRun(name, seed, place, overrides, config))
    if len({run.folder for run in runs}) < len(runs):
        raise InputError(f"{path}: two runs have one folder: name them apart under variants")
    return Plan(path, base, folder, tuple(conditions), tuple(runs))


def _conditions(path: Path, content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name → keys, for every combination of a variant and the values of the grid."""
    grid = _mapping(path, "grid", content.get("grid"))
    _refuse_own_keys(path, "grid", grid)
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{path}: grid.{key} is {str(values)[:60]}: give a list of values")
    variants = _mapping(path, "variants", content.get("variants"))
    count = max(1, len(variants)) * prod(map(len, grid.values()))
    if count > _MOST:
        raise InputError(f"{path}: {count} conditions: at most {_MOST}")
    named: list[tuple[str, dict[str, Any]]] = [
        (str(name), _mapping(path, f"variants.{name}", keys)) for name, keys in variants.items()
    ]
    for name, keys in named:
        _refuse_own_keys(path, f"variants.{name}", keys)
        if both := sorted(grid.keys() & keys.keys()):
            raise InputError(f"{path}: variants.{name} and grid both give {both[0]}: leave one out")
    found: dict[str, dict[str, Any]] = {}
    for name, keys in named or [("", {})]:
        for values in product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            parts = [name, *(_label(key, value) for key, value in chosen.items())]
            label = " ".join(part for part in parts if part) or "run"
            if label in found:
                raise InputError(f"{path}: two conditions are called {label!r}: name them apart")
            found[label] = {**chosen, **keys}
    return found


def _refuse_own_keys(path: Path, place: str, keys: Mapping[str, Any]) -> None:
    for key in ("seed", "output", "resume"):
        if key in keys:
            raise InputError(f"{path}: {place}.{key} is set by the grid: use seeds or output")


def _label(key: str, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if key == "method" else f"{key.rpartition('.')[2]}={text}"


def _file_name(condition: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", condition).strip("_")[:100] or "run"


def _mapping(path: Path, key: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key} is {str(value)[:60]}: write 'key: value' lines below it")
    return {str(name): inside for name, inside in value.items()}


def _seeds(path: Path, seeds: object) -> list[int]:
    numbers = seeds if isinstance(seeds, list) else []
    good = all(type(seed) is int and seed >= 0 for seed in numbers)
    if not numbers or not good or len(set(numbers)) < len(numbers):
        shown = str(seeds)[:60]
        raise InputError(f"{path}: seeds is {shown}: list different integers, such as [0, 1, 2]")
    return numbers
