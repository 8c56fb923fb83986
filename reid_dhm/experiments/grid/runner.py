"""Runs the trainings of a grid, each in a process of its own, as many at once as there are devices.

Everything that is known of a run lies in its folder, so a grid that was stopped anywhere goes on
from there. A lock, held by the training process itself, keeps a run from being trained twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reid_dhm.errors import InputError
from reid_dhm.experiments.grid.plan import Plan, PlannedRun
from reid_dhm.experiments.run import refuse_other_configuration
from reid_dhm.processes import module_command
from reid_dhm.training.state import find_state

WEIGHTS, PER_QUERY = "best.safetensors", "per_query.npz"
_POLL = 0.2  # seconds between two looks at the processes


@dataclass
class Training:
    """A run in training, and the device it occupies."""

    run: PlannedRun
    device: str
    process: subprocess.Popen[bytes]


Report = Callable[[str, PlannedRun, str], None]
"""Called with ``started``, ``done``, ``failed`` or ``waiting``, the run, and device or reason."""


def epochs_done(run: PlannedRun) -> int:
    """Epochs of the run's whole state on disk."""
    found = find_state(run.folder / "last")
    if found is None:
        return 0
    try:
        return int(json.loads((found / "state.json").read_text())["progress"]["epoch"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{found / 'state.json'} is damaged ({error}): remove {run.folder} to train it again"
        ) from error


def is_done(run: PlannedRun) -> bool:
    """Whether the run is trained to its last epoch; its weights may be gone once evaluated."""
    finished = epochs_done(run) >= run.config.train.epochs
    return finished and any((run.folder / name).is_file() for name in (WEIGHTS, PER_QUERY))


def refuse_changed_runs(plan: Plan) -> None:
    """Refuse a plan of which a run folder holds a training under another configuration.

    Raises:
        InputError: naming the first such folder and what differs.
    """
    for run in plan.runs:
        if find_state(run.folder / "last") is not None:
            refuse_other_configuration(run.folder, run.config)


def run_all(plan: Plan, devices: Sequence[str], report: Report | None = None) -> dict[str, str]:
    """Train what is not trained yet.

    Args:
        plan: the runs, in order.
        devices: ``cpu`` or ``cuda:N``; one run at a time for each entry, so that a device named
            twice trains two.
        report: told of every run that starts and ends.

    Returns:
        The reason of each failure, by the name of the run's folder; other runs are not stopped.

    Raises:
        InputError: a run folder holds a training of another configuration; nothing is trained.
    """
    refuse_changed_runs(plan)
    free = list(devices)
    waiting = [run for run in plan.runs if not is_done(run)]
    running: list[Training] = []
    failures: dict[str, str] = {}
    tell = report or (lambda event, run, text: None)
    try:
        while waiting or running:
            while waiting and free:
                run, device = waiting.pop(0), free.pop(0)
                running.append(Training(run, device, _start(plan, run, device, tell)))
                tell("started", run, device)
            for training in [t for t in running if t.process.poll() is not None]:
                running.remove(training)
                free.append(training.device)
                run = training.run
                if is_done(run):
                    tell("done", run, training.device)
                else:
                    reason = _reason(run, training.process.returncode)
                    failures[run.folder.name] = reason
                    tell("failed", run, reason)
            time.sleep(_POLL if running else 0)
    finally:
        for training in running:
            training.process.terminate()
        for training in running:
            training.process.wait()
    return failures


def _start(plan: Plan, run: PlannedRun, device: str, tell: Report) -> subprocess.Popen[bytes]:
    """Start ``reid-dhm train``; it inherits the run's lock, which the system frees as it ends."""
    run.folder.mkdir(parents=True, exist_ok=True)
    overrides = (*run.overrides, f"output={json.dumps(str(run.folder))}", "resume=true")
    command = module_command("reid_dhm", "train", str(plan.base), *overrides)
    with _lock(run, tell) as lock, log_path(run).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": _visible(device)},
            pass_fds=(lock.fileno(),),
        )


def _visible(device: str) -> str:
    """What the training may see: one GPU, counted among those that this process sees, or none."""
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return ""
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    row = int(number or 0)
    return seen[row] if row < len(seen) else str(row)


def log_path(run: PlannedRun) -> Path:
    """What the run's training printed, beside its folder."""
    return run.folder.with_name(f"{run.folder.name}.log")


def _lock(run: PlannedRun, tell: Report) -> IO[bytes]:
    """The run's lock, once no process of an earlier call trains it any more."""
    file = run.folder.with_name(f".{run.folder.name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("waiting", run, "an earlier process still trains it")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _reason(run: PlannedRun, code: int) -> str:
    """The last line that a failed training printed."""
    try:
        lines = log_path(run).read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    errors = [line for line in lines if line.startswith("error: ")]
    last = (errors or lines or [""])[-1].removeprefix("error: ").strip()
    return f"{last[:300] or 'nothing was printed'} (exit code {code}; see {log_path(run)})"
