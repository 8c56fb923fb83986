"""Reads thousands of mutated files with every reader of the project: python tests/soak/mutate.py.

Each file is to be read or refused in one line. Cases run in a child process with a limit of time
and memory; a traceback, a hang, a crash or too much memory is a failure, which the summary names
with the command that repeats it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import runpy
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from mutations import alter_cell, mutated

START_SECONDS = 120.0  # for a child to start
MEMORY = 2 * 2**30  # bytes that a case may add
SOUND = -1  # number of the case that reads the samples as they are


def main() -> int:
    """Run the cases, print the summary; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=7200, help="cases in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", metavar="NAME", help="a reader; repeatable")
    parser.add_argument("--case", type=int, help="with --only: this case alone")
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of a case")
    parser.add_argument("--readers", type=Path, default=Path(__file__).with_name("readers.py"))
    options = parser.parse_args()
    readers = _load(options.readers)
    names = options.only or list(readers)
    if unknown := set(names) - set(readers):
        parser.error(f"--only {min(unknown)}: choose from {', '.join(readers)}")
    with tempfile.TemporaryDirectory(prefix="reid-dhm-soak-") as scratch:
        samples = Path(scratch, "samples")
        for name in names:
            (samples / name / "files").mkdir(parents=True)
            readers[name].samples(samples / name / "files")
        shares = {name: readers[name].share for name in names}
        cases = _cases(shares, options.count)
        if options.case is not None:
            cases = [(names[0], options.case)]
        child = partial(_Child, options.readers, options.seed, Path(scratch), options.seconds)
        failures, outcomes = _run_all(cases, child)
    for name in names:
        counts = {kind: count for (of, kind), count in sorted(outcomes.items()) if of == name}
        print(f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for (name, number), reason in failures:
        print(f"FAILED --seed {options.seed} --only {name} --case {number}\n{reason}\n")
    print(f"{len(cases)} cases, {len(failures)} failures")
    return 1 if failures else 0


def _load(path: Path) -> dict[str, Any]:
    return runpy.run_path(str(path))["READERS"]


def _cases(shares: dict[str, int], count: int) -> list[tuple[str, int]]:
    """(reader, number), first the sound samples of each."""
    total = sum(shares.values())
    return [
        (name, number)
        for name, share in shares.items()
        for number in range(SOUND, max(1, round(count * share / total)))
    ]


def _run_all(
    cases: list[tuple[str, int]], start: Callable[[], _Child]
) -> tuple[list[tuple[tuple[str, int], str]], Counter[tuple[str, str]]]:
    failures: list[tuple[tuple[str, int], str]] = []
    outcomes: Counter[tuple[str, str]] = Counter()
    child: _Child | None = None
    for case in cases:
        if child is None:
            child = start()
        kind, reason = child.run(case)
        outcomes[case[0], kind] += 1
        if kind not in ("read", "refused"):
            failures.append((case, reason))
            print(f"{kind}: {case[0]} {case[1]}", file=sys.stderr, flush=True)
        if kind in ("hung", "crashed"):
            child.kill()
            child = None
    if child is not None:
        child.kill()
    return failures, outcomes


class _Child:
    """A process that runs cases until one hangs or crashes."""

    def __init__(self, readers: Path, seed: int, scratch: Path, seconds: float) -> None:
        self._seconds = seconds
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, readers, seed, scratch)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(START_SECONDS):
            raise RuntimeError("a child did not start")
        self._connection.recv()

    def run(self, case: tuple[str, int]) -> tuple[str, str]:
        """What became of a case, and why."""
        self._connection.send(case)
        try:
            if not self._connection.poll(self._seconds):
                return "hung", f"no end after {self._seconds:g} s"
            return self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(10)
            return "crashed", f"exit code {self._process.exitcode}"

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, readers: Path, seed: int, scratch: Path) -> None:
    """Run the cases that come, and answer with their outcomes."""
    known = _load(readers)
    connection.send("ready")
    while True:
        name, number = connection.recv()
        folder = scratch / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        start, before = time.monotonic(), _peak()
        try:
            outcome = _run(known[name], name, number, seed, scratch, folder)
        except MemoryError:
            outcome = ("memory", traceback.format_exc(limit=-6))
        except Exception:
            outcome = ("traceback", traceback.format_exc(limit=-6))
        if outcome[0] in ("read", "refused") and _peak() - before > MEMORY:
            spent = (_peak() - before) / 2**30
            outcome = ("memory", f"{spent:.1f} GiB in {time.monotonic() - start:.1f} s")
        connection.send(outcome)


def _run(
    reader: Any, name: str, number: int, seed: int, scratch: Path, folder: Path
) -> tuple[str, str]:
    from reid_dhm.errors import ReidError

    random = Random(f"{seed} {name} {number}")
    samples = scratch / "samples" / name
    files = sorted((samples / "files").iterdir())
    facts = {"samples": str(samples), "sound": number == SOUND}
    (folder / "case.json").write_text(json.dumps(facts))
    if number == SOUND:
        for sound in files:
            reader.read(Path(shutil.copyfile(sound, folder / sound.name)))
        return "read", ""
    sound = random.choice(files)
    path = folder / sound.name
    if name == "cells":
        shutil.copyfile(sound, path)
        alter_cell(path, random)
    else:
        other = random.choice(files).read_bytes()
        path.write_bytes(mutated(sound.read_bytes(), other, reader.is_text, random))
    try:
        reader.read(path)
    except (ReidError, OSError) as error:
        if isinstance(error, ReidError) and len(str(error)) > 5000:
            return "traceback", f"a message of {len(str(error))} characters: {str(error)[:200]}"
        return "refused", ""
    return "read", ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
