"""Runs cases in a child process with limits of time and memory, and names those that fail.

A program is a file that defines ``SUBJECTS`` and calls :func:`main`. A case is to be accepted or
refused; a traceback, a hang, a crash or too much memory is a failure, which the summary names with
the command that repeats it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
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
from itertools import groupby
from multiprocessing.connection import Connection
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Protocol

START_SECONDS = 600.0  # for a child to start
DEADLOCK = 10  # times the limit of a case, on the clock of the wall
MEMORY = 2 * 2**30  # bytes that a case may add
MOST = 12 * 2**30  # bytes that a child may allocate before the system refuses

Case = tuple[str, int]


class Subject(Protocol):
    """What is tried, such as one reader or one command.

    Attributes:
        cases: how many there are; fewer are drawn from them for a smaller ``--count``.
    """

    cases: int

    def prepare(self, folder: Path) -> None:
        """Write what all cases share."""
        ...

    def attempt(self, number: int, random: Random, prepared: Path, folder: Path) -> str:
        """Run a case in an empty folder: ``accepted`` or ``refused``.

        Number -1 tries what is sound, and raises an error if it is refused.
        """
        ...


def main(program: str) -> int:
    """Run the cases of a program, print the summary; 1 if any failed."""
    subjects = _load(Path(program))
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--count", type=int, help="cases in all; default: every one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", metavar="NAME", help="a subject; repeatable")
    parser.add_argument("--case", type=int, help="with --only: this case alone")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a case, on the processor")
    options = parser.parse_args()
    names = options.only or list(subjects)
    if unknown := set(names) - set(subjects):
        parser.error(f"--only {min(unknown)}: choose from {', '.join(subjects)}")
    with tempfile.TemporaryDirectory(prefix="reid-dhm-soak-") as scratch:
        for name in names:
            folder = _prepared(Path(scratch), name)
            folder.mkdir(parents=True)
            subjects[name].prepare(folder)
        cases = _cases({name: subjects[name].cases for name in names}, options.count, options.seed)
        if options.case is not None:
            cases = [(names[0], options.case)]
        child = partial(_Child, Path(program), options.seed, Path(scratch), options.seconds)
        failures = _run_all(cases, child)
    for (name, number), reason in failures:
        print(f"FAILED --seed {options.seed} --only {name!r} --case {number}\n{reason}\n")
    print(f"{len(cases)} cases, {len(failures)} failures")
    return 1 if failures else 0


def _load(program: Path) -> dict[str, Subject]:
    return runpy.run_path(str(program))["SUBJECTS"]


def _prepared(scratch: Path, name: str) -> Path:
    return scratch / "prepared" / name.replace(" ", "_")


def _cases(available: dict[str, int], count: int | None, seed: int) -> list[Case]:
    """First the sound case of each subject, then its share, in order of number."""
    total = sum(available.values())
    share = 1.0 if count is None else min(1.0, count / total)
    return [
        (name, number)
        for name, cases in available.items()
        for number in (-1, *_drawn(cases, max(1, round(cases * share)), f"{seed} {name}"))
    ]


def _drawn(cases: int, count: int, seed: str) -> list[int]:
    return sorted(Random(seed).sample(range(cases), min(cases, count)))


def _run_all(cases: list[Case], start: Callable[[], _Child]) -> list[tuple[Case, str]]:
    """The cases that failed, and why; prints the outcomes of each subject as it ends."""
    failures: list[tuple[Case, str]] = []
    child: _Child | None = None
    for name, own in groupby(cases, key=itemgetter(0)):
        outcomes: Counter[str] = Counter()
        started = time.monotonic()
        for case in own:
            child = child or start()
            kind, reason = child.run(case)
            outcomes[kind] += 1
            if kind not in ("accepted", "refused"):
                failures.append((case, reason))
                print(f"{kind}: {name} {case[1]}", file=sys.stderr, flush=True)
            if kind in ("hung", "crashed"):
                child.kill()
                child = None
        shown = ", ".join(f"{count} {kind}" for kind, count in sorted(outcomes.items()))
        print(f"{name}: {shown} in {time.monotonic() - started:.0f} s", flush=True)
    if child is not None:
        child.kill()
    return failures


class _Child:
    """A process that runs cases until one hangs or crashes."""

    def __init__(self, program: Path, seed: int, scratch: Path, seconds: float) -> None:
        self._seconds = seconds
        self._imports = START_SECONDS  # its first case may import libraries
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, program, seed, scratch)
        self._process = context.Process(target=_serve, args=arguments, daemon=False)
        self._process.start()
        theirs.close()
        if not self._connection.poll(START_SECONDS):
            self.kill()
            raise RuntimeError("a child did not start")
        self._connection.recv()

    def run(self, case: Case) -> tuple[str, str]:
        """What became of a case, and why."""
        limit, self._imports = self._seconds + self._imports, 0.0
        self._connection.send(case)
        try:
            started, spent = time.monotonic(), self._processor_seconds()
            while not self._connection.poll(0.5):
                # On a loaded machine a case may take long; processor time tells a loop from it.
                loops = self._processor_seconds() - spent > limit
                if loops or time.monotonic() - started > DEADLOCK * limit:
                    return "hung", f"no end after {limit:g} s"
            return self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(10)
            return "crashed", f"exit code {self._process.exitcode}"

    def _processor_seconds(self) -> float:
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, program: Path, seed: int, scratch: Path) -> None:
    """Run the cases that come, and answer with their outcomes."""
    subjects = _load(program)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    connection.send("ready")
    while True:
        try:
            name, number = connection.recv()
        except EOFError:  # the parent has ended
            return
        folder = scratch / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        start, before = time.monotonic(), _peak()
        random = Random(f"{seed} {name} {number}")
        try:
            os.chdir(folder)
            kind = subjects[name].attempt(number, random, _prepared(scratch, name), folder)
            outcome = (kind, "")
        except MemoryError:
            outcome = ("memory", traceback.format_exc(limit=-6))
        except Exception:
            outcome = ("traceback", traceback.format_exc(limit=-6))
        if outcome[0] in ("accepted", "refused") and _peak() - before > MEMORY:
            spent = (_peak() - before) / 2**30
            outcome = ("memory", f"{spent:.1f} GiB in {time.monotonic() - start:.1f} s")
        connection.send(outcome)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
