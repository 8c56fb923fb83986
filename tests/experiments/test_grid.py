"""Grids: what is planned, how runs are started, stopped and found again, and their table."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.evaluation.repeats import Condition
from reid_dhm.experiments.grid import report as grid_report
from reid_dhm.experiments.grid import runner
from reid_dhm.experiments.grid.estimate import estimate
from reid_dhm.experiments.grid.plan import Plan, read_plan
from reid_dhm.experiments.grid.report import write_report
from reid_dhm.experiments.grid.results import tabulate
from reid_dhm.experiments.grid.runner import is_done, run_all
from reid_dhm.experiments.run import run_experiment
from reid_dhm.processes import module_command
from reid_dhm.report.experiment_report import write_experiment
from reid_dhm.report.plots.training import gradient_plots, learning_curves

GRID = """
config: experiment.yaml
output: {output}
set: {{train.epochs: 2, train.diagnose_every: 1}}
grid: {{method: [baseline, dhm]}}
seeds: [0, 1]
"""


@pytest.fixture
def grid_of(config_of, tmp_path: Path):
    """A plan of the small experiment; ``text`` replaces the file."""
    config_of("")

    def grid_of(text: str = GRID) -> Plan:
        path = tmp_path / "grid.yaml"
        path.write_text(text.format(output=tmp_path / "grid"))
        return read_plan(path)

    return grid_of


def train_all(plan: Plan, config_of, only: int | None = None) -> None:
    """Train runs in this process, in place of ``reid-dhm train``."""
    for run in plan.runs[:only]:
        config_of("")  # as a new process would
        run_experiment(run.config)


def test_runs_are_every_combination_seed_by_seed(grid_of, tmp_path):
    plan = grid_of()
    assert plan.conditions == ("baseline", "dhm")
    assert [(run.condition, run.seed) for run in plan.runs] == [
        *(("baseline", 0), ("dhm", 0), ("baseline", 1), ("dhm", 1)),
    ]
    run = plan.runs[3]
    assert run.folder == tmp_path / "grid" / "dhm_s1"
    assert (run.config.method, run.config.seed, run.config.train.epochs) == ("dhm", 1, 2)
    assert run.config.output == str(run.folder)


def test_variants_and_several_keys_make_names(grid_of):
    text = """
config: experiment.yaml
output: {output}
grid: {{loss.alpha: [0.5, 1], "model.fork": [fixed]}}
variants:
  plain: {{}}
  wide heads: {{"model.branch_rule": reference, "model.branches": null}}
"""
    plan = grid_of(text)
    assert plan.conditions[0] == "plain alpha=0.5 fork=fixed"
    assert plan.conditions[3] == "wide heads alpha=1 fork=fixed"
    last = plan.runs[3]
    assert last.folder.name == "wide_heads_alpha=1_fork=fixed_s0"
    assert (last.config.model.branch_rule, last.config.loss.alpha) == ("reference", 1.0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour: red", "unknown key 'colour'"),
        ("grid: {{method: dhm}}", "grid.method is dhm: give a list"),
        ("grid: {{seed: [1]}}", "grid.seed is set by the grid: use seeds"),
        ("set: {{seed: 1}}", "set.seed is set by the grid: use seeds"),
        ("variants: {{a: {{output: x}}}}", "variants.a.output is set by the grid"),
        (
            "grid: {{method: [dsl, dhm]}}\nvariants: {{a: {{method: dsl}}}}",
            "variants.a and grid both give method: leave one out",
        ),
        ("seeds: [1, 1]", "seeds is .1, 1.: list different integers"),
        ("seeds: [-1]", "list different integers"),
        ("seeds: 3", "list different integers"),
        ("variants: [a]", "variants is .*: write 'key: value' lines"),
        ("grid: {{method: [dhn]}}", "method is 'dhn': use one of baseline"),
        ("set: {{train.epoch: 3}}", "unknown key 'train.epoch'"),
        ("set: {{data.root: 2026-03-01}}", "no text, number or list .*date.*: quote it"),
        (
            "grid: {{"
            + ", ".join(f"k{n}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" for n in range(12))
            + "}}",
            "1000000000000 conditions: at most 1000",
        ),
        ("grid: {{train.lr: [1, 1.0]}}\nvariants: {{a: {{}}}}\nseeds: [0, 0]", "different"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(grid_of, line, message):
    with pytest.raises(InputError, match=message):
        grid_of(f"config: experiment.yaml\noutput: {{output}}\n{line}\n")


def test_a_missing_grid_is_named(tmp_path):
    with pytest.raises(InputError, match=r"grid.yaml cannot be read: No such file"):
        read_plan(tmp_path / "grid.yaml")


class Fake:
    """A training process that ends at its second poll."""

    started: list[tuple[str, str]] = []  # noqa: RUF012
    alive = 0
    most = 0

    def __init__(self, plan: Plan, run, device: str, tell) -> None:
        self.run, self.polls, self.returncode = run, 0, None
        Fake.started.append((run.folder.name, device))
        Fake.alive += 1
        Fake.most = max(Fake.most, Fake.alive)
        self.terminated = False

    def poll(self) -> int | None:
        self.polls += 1
        if self.polls > 1 and self.returncode is None:
            Fake.alive -= 1
            self.returncode = 1 if self.run.folder.name == "dhm_s0" else 0
            done.update({self.run.folder.name} if self.returncode == 0 else ())
        return self.returncode

    def terminate(self) -> None:
        self.terminated = True

    def wait(self) -> int:
        return 0


done: set[str] = set()


@pytest.fixture
def fake(monkeypatch):
    Fake.started, Fake.alive, Fake.most = [], 0, 0
    done.clear()
    monkeypatch.setattr(runner, "_start", Fake)
    monkeypatch.setattr(runner, "is_done", lambda run: run.folder.name in done)
    monkeypatch.setattr(runner, "_POLL", 0.001)
    return Fake


def test_every_device_has_one_run_at_a_time_and_a_failure_stops_no_other(grid_of, fake):
    told = []
    failures = run_all(
        grid_of(), ["cuda:0", "cuda:1"], lambda event, run, text: told.append((event, run.seed))
    )
    assert [name for name, _ in fake.started] == ["baseline_s0", "dhm_s0", "baseline_s1", "dhm_s1"]
    assert {device for _, device in fake.started} == {"cuda:0", "cuda:1"}
    assert fake.most == 2
    assert failures.keys() == {"dhm_s0"}
    assert "exit code 1" in failures["dhm_s0"]
    assert told.count(("failed", 0)) == 1
    # the same call tries what failed again, and nothing else
    fake.started.clear()
    run_all(grid_of(), ["cpu"])
    assert fake.started == [("dhm_s0", "cpu")]


def test_a_device_named_twice_trains_two_runs(grid_of, fake):
    run_all(grid_of(), ["cuda:0", "cuda:0"])
    assert fake.most == 2
    assert {device for _, device in fake.started} == {"cuda:0"}


def test_a_grid_that_was_changed_is_not_taken_for_done(grid_of, config_of, monkeypatch):
    started: list[object] = []
    monkeypatch.setattr(runner, "_start", lambda *given: started.append(given))
    train_all(grid_of(), config_of, only=1)
    changed = grid_of(GRID.replace("set: {{", "set: {{loss.alpha: 2, "))
    refusal = r"baseline_s0 was trained with loss.alpha=1.0, not 2.0"
    with pytest.raises(InputError, match=refusal):
        run_all(changed, ["cpu"])
    assert started == []
    with pytest.raises(InputError, match=refusal):  # nor when only the plan is asked for
        estimate(changed, "cpu", 1)


@pytest.mark.parametrize(
    ("seen", "device", "given"),
    [("", "cuda:1", "1"), ("4,6", "cuda:1", "6"), ("4,6", "cuda", "4"), ("4", "cpu", "")],
)
def test_a_training_sees_its_own_gpu_among_those_of_the_caller(monkeypatch, seen, device, given):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert runner._visible(device) == given


def test_an_interruption_ends_the_processes(grid_of, fake, monkeypatch):
    processes = []
    start = runner._start

    def interrupted(event: str, run, text: str) -> None:
        if event == "done":
            raise KeyboardInterrupt

    def remember(*given):
        processes.append(start(*given))
        return processes[-1]

    monkeypatch.setattr(runner, "_start", remember)
    with pytest.raises(KeyboardInterrupt):
        run_all(grid_of(), ["cuda:0", "cuda:1"], interrupted)
    assert [process.terminated for process in processes] == [False, True]


def test_the_lock_of_a_run_lives_as_long_as_its_training(grid_of, monkeypatch, tmp_path):
    """Started for real, with a stand-in that sleeps: a second start waits for its end."""
    plan = grid_of()
    run, events = plan.runs[0], []
    popen = subprocess.Popen

    def sleeping(command, **options):
        assert command[:6] == module_command("reid_dhm", "train")  # no file of this folder is run
        return popen(["/bin/sh", "-c", "sleep 1; echo error: broken"], **options)

    monkeypatch.setattr(runner.subprocess, "Popen", sleeping)
    first = runner._start(plan, run, "cpu", lambda *told: events.append(told[0]))
    assert first.poll() is None
    second = runner._start(plan, run, "cpu", lambda *told: events.append(told[0]))
    assert first.wait(1) == 0  # had to end before the second could start
    assert events == ["waiting"]
    second.wait(5)
    assert runner._reason(run, 1).startswith("broken (exit code 1; see ")


def test_the_time_is_estimated_before_and_from_logs_after(grid_of, config_of):
    plan = grid_of()
    before = estimate(plan, "cpu", 1)
    assert before.seconds.keys() == {"baseline_s0", "dhm_s0", "baseline_s1", "dhm_s1"}
    assert before.total == pytest.approx(sum(before.seconds.values()))
    assert all(seconds > 0 for seconds in before.seconds.values())
    train_all(plan, config_of, only=1)
    after = estimate(plan, "cpu", 2)
    assert after.seconds.keys() == {"dhm_s0", "baseline_s1", "dhm_s1"}
    lines = (plan.runs[0].folder / "metrics.jsonl").read_text().splitlines()
    logged = sum(json.loads(line)["train/seconds"] for line in lines)
    assert after.seconds["baseline_s1"] == pytest.approx(logged)
    assert after.total < sum(after.seconds.values())


def test_the_table_has_means_deviations_and_paired_intervals(
    grid_of, config_of, people, tmp_path, monkeypatch
):
    plan = grid_of()
    train_all(plan, config_of)
    assert all(map(is_done, plan.runs))
    told = []
    baseline, dhm = tabulate(plan, "cpu", lambda run: told.append(run.folder.name))
    assert len(told) == 4
    bests = [json.loads((r.folder / "best.json").read_text())["training"] for r in plan.runs]
    values = [best["mAP"] for best in bests[::2]]
    assert baseline.figures["mAP"][0] == pytest.approx(np.mean(values), abs=1e-6)
    assert baseline.figures["mAP"][1] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    assert (baseline.seeds, dhm.paired) == ((0, 1), 2)
    assert not baseline.differences
    difference = np.mean([best["mAP"] for best in bests[1::2]]) - np.mean(values)
    assert dhm.differences["mAP"].value == pytest.approx(difference, abs=1e-6)
    again = tabulate(plan, "cpu", lambda run: told.append(run.folder.name))
    assert len(told) == 4  # read from the folders
    weights = plan.runs[0].folder / "best.safetensors"
    weights.rename(weights.with_suffix(".away"))
    assert tabulate(plan, "cpu")[0].summary() == baseline.summary()  # evaluated weights may go
    weights.with_suffix(".away").rename(weights)
    images = sorted((people / "synthetic" / "query").iterdir())
    images[0].rename(images[0].with_suffix(".away"))
    changed = tabulate(plan, "cpu", lambda run: told.append(run.folder.name))
    assert len(told) == 8  # other test images, other figures
    assert changed[0].figures != baseline.figures
    images[0].with_suffix(".away").rename(images[0])
    euclidean = GRID.replace("set: {{", "set: {{test.metric: euclidean, ")
    assert tabulate(grid_of(euclidean), "cpu")[0].figures != baseline.figures
    again = tabulate(plan, "cpu")
    assert [each.summary() for each in again] == [baseline.summary(), dhm.summary()]

    index = write_report(plan, again, {}, "cpu")
    page = index.read_text()
    assert page.count('<th scope="row">') == 2
    assert "Gradient cosine in first" in page
    assert "../comparison/index.html" in page
    assert (tmp_path / "grid" / "comparison" / "index.html").is_file()
    results = json.loads((index.parent / "results.json").read_text())
    assert [each["condition"] for each in results["conditions"]] == ["baseline", "dhm"]
    names = {path.stem for path in (index.parent / "figures").iterdir()}
    assert {"accuracy", "evaluations", "gradient_cosine_0", "gradient_variance_2"} <= names

    shutil.rmtree(plan.runs[3].folder)  # as if it had never been trained
    monkeypatch.setattr(grid_report, "_compare", lambda *given: False)
    fewer = tabulate(plan, "cpu")
    assert [(each.name, each.seeds, each.paired) for each in fewer] == [
        *(("baseline", (0, 1), 0), ("dhm", (0,), 1)),
    ]
    page = write_report(plan, fewer, {"dhm_s1": "disk full"}, "cpu").read_text()
    assert "1 run is missing" in page
    assert "dhm_s1: disk full" in page
    assert "../comparison" not in page


def condition(name: str, **changed: object) -> Condition:
    records = {
        seed: [
            {
                "epoch": epoch,
                "train/accuracy": 0.1 * epoch + 0.01 * seed,
                "gradient/cosine/layer1/1": 0.5 - 0.1 * seed,
                "gradient/variance/layer1": 2.0,
            }
            for epoch in range(3)
        ]
        for seed in (0, 1)
    }
    plain = Condition(name, (0, 1), {"top1": (0.5, 0.1)}, {}, 0, 1.0, records)
    return replace(plain, **changed)


def test_curves_say_in_words_what_they_show():
    (curve,) = learning_curves([condition("a"), condition("<b>")], "top1")
    assert "a 0.5% at epoch 1, 20.5% at epoch 3" in curve.words
    cosine, variance = gradient_plots([condition("a")])
    assert cosine.title == "Gradient cosine in layer1"
    assert "a, branch 1 0.45 at epoch 1" in cosine.words
    assert "a 2 at epoch 1" in variance.words


def test_names_from_outside_are_text_in_the_report(tmp_path):
    write_experiment(
        tmp_path / "report", "x<script>", [condition("<b>bold</b>")], {"a": "<i>"}, {"r": "<u>"}
    )
    page = (tmp_path / "report" / "index.html").read_text()
    for raw in ("<script>", "<b>bold", "<i>", "<u>"):
        assert raw not in page
    assert "&lt;b&gt;bold" in page


def test_without_diagnosis_the_report_says_how_to_get_it(tmp_path):
    plain = condition("a", records={0: [{"epoch": 0, "train/accuracy": 0.5}]})
    write_experiment(tmp_path / "report", "x", [plain], {}, {})
    assert "train.diagnose_every" in (tmp_path / "report" / "index.html").read_text()
