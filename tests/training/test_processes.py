"""Several processes, and processes that die; this file is also the program that they run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from reid_dhm.data.loading import Batch
from reid_dhm.errors import InputError
from reid_dhm.experiments.run import run_experiment
from reid_dhm.training.diagnostics import gradient_agreement
from reid_dhm.training.loop import Trainer, freeze_batch_norm
from reid_dhm.training.losses import batch_hard_triplet
from reid_dhm.training.objective import Criterion
from reid_dhm.training.run_folder import read_metrics

LINE = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
PEOPLE = torch.tensor([5, 5, 9, 9])
DESCENT = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1.0}
FROZEN = ("train.freeze_bn=true", "data.augment=false", "train.optimizer=sgd", "train.epochs=2")


def batch_of(trainer: Trainer) -> tuple[Batch, Tensor]:
    """The process's share of one batch, and the nearest strangers lie in the other one's."""
    images = trainer.data.loader.images
    for person in (0, 2):  # the next one is their double in fewer shades
        images[4 * person + 4 : 4 * person + 8] = images[4 * person : 4 * person + 4] // 8 * 8
    rows = torch.tensor([0, 1, 8, 9, 4, 5, 12, 13])
    accelerator = trainer.accelerator
    share = rows.chunk(accelerator.num_processes)[accelerator.process_index]
    return next(trainer.inputs([share]))


def first_step(trainer: Trainer) -> dict[str, object]:
    """One step of plain descent at rate 1: what it changes is the gradient."""
    freeze_batch_norm(trainer.model.train())
    before = {name: p.detach().clone() for name, p in trainer.plain_model.named_parameters()}
    batch, inputs = batch_of(trainer)
    terms = trainer.step(batch, inputs, 0)
    after = dict(trainer.plain_model.named_parameters())
    return {
        "rows": batch.indices,
        "terms": terms,
        "gradient": {name: before[name] - after[name].detach() for name in before},
    }


def line_triplet(rows: slice) -> dict[str, Tensor]:
    features = LINE[rows].clone().requires_grad_()
    loss = batch_hard_triplet(features, PEOPLE[rows], margin=2)
    loss.backward()
    return {"loss": loss.detach(), "gradient": features.grad}


def measured(trainer: Trainer) -> None:
    """Train an epoch that ends in a diagnosis and an evaluation."""

    def diagnose(model, epoch: int) -> dict[str, float]:
        batches = trainer.inputs(trainer.data.sampler.epoch(epoch)[:2])
        pairs = [(inputs, batch.labels) for batch, inputs in batches]
        return gradient_agreement(model, Criterion(), pairs)

    trainer.fit(lambda model: {"mAP": 0.5}, diagnose=diagnose)


def one_of_two(folder: Path, build_model: Callable, build_trainer: Callable) -> None:
    found: dict[str, object] = {}
    model = build_model(after=("first", "middle"))
    found["step"] = first_step(build_trainer(folder / "run", model, **DESCENT))
    rank = int(os.environ["RANK"])
    found["line"] = line_triplet(slice(2 * rank, 2 * rank + 2))
    with pytest.raises(InputError) as caught:
        build_trainer(folder / "run", sync_bn=True)
    found["sync_bn"] = str(caught.value)
    measured(build_trainer(folder / "run", build_model(after=("first",)), **SHORT))
    torch.save(found, folder / f"{rank}.pt")


SHORT = {"epochs": 1, "diagnose_every": 1}


def run(*arguments: object, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *launcher, __file__, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[dict, dict, Path]:
    """What each of two processes found, and the folder they worked in."""
    folder = tmp_path_factory.mktemp("two")
    done = run("measure", folder, launcher=TWO)
    assert done.returncode == 0, done.stderr[:6000]
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    return first, second, folder


def test_two_processes_take_the_step_of_one(two, trainer_of, model_of):
    alone = first_step(trainer_of(model_of(after=("first", "middle")), **DESCENT))
    steps = [found["step"] for found in two[:2]]
    assert torch.equal(torch.cat([step["rows"] for step in steps]), alone["rows"])
    for name, value in alone["terms"].items():
        shared = sum(float(step["terms"][name]) for step in steps) / 2
        assert shared == pytest.approx(float(value), abs=1e-5), name
    for step in steps:
        assert step["gradient"].keys() == alone["gradient"].keys()
        for name, gradient in alone["gradient"].items():
            torch.testing.assert_close(step["gradient"][name], gradient, rtol=0, atol=1e-5)
    assert max(float(gradient.abs().max()) for gradient in alone["gradient"].values()) > 0.01


def test_that_step_needed_strangers_of_the_other_process(two, trainer_of, model_of):
    trainer = trainer_of(model_of(after=("first", "middle")))
    freeze_batch_norm(trainer.model.train())
    batch, inputs = batch_of(trainer)
    features = trainer.plain_model(inputs)[0].features.detach()
    half = len(features) // 2
    distance = torch.cdist(features, features)
    distance[batch.labels[:, None] == batch.labels] = torch.inf
    nearest = distance.argmin(dim=1)
    assert torch.equal(nearest < half, torch.arange(2 * half) >= half)
    apart = sum(
        float(batch_hard_triplet(features[rows], batch.labels[rows]))
        for rows in (slice(half), slice(half, None))
    )
    # fifty times what the losses of one and of two processes may differ by
    assert abs(apart / 2 - float(batch_hard_triplet(features, batch.labels))) > 5e-4


def test_triplets_are_mined_across_processes_by_hand(two):
    # each process sees one person, and no stranger; see test_losses for the whole line
    lines = [found["line"] for found in two[:2]]
    assert float(sum(line["loss"] for line in lines)) / 2 == pytest.approx((0 + 1 + 4 + 0) / 4)
    # hinges above zero: anchor 1: |1 - 0| - |1 - 3|, anchor 3: |3 - 7| - |3 - 1|
    expected = torch.tensor([[-1.0], [1 + 1 + 1], [-1 - 1 - 1], [1]]) / 4
    torch.testing.assert_close(torch.cat([line["gradient"] for line in lines]) / 2, expected)


def test_synchronised_statistics_need_gpus(two):
    assert all("train.sync_bn needs GPUs" in found["sync_bn"] for found in two[:2])


def test_two_processes_diagnose_and_log_once(two):
    (record,) = read_metrics(two[2] / "run")
    assert -1 <= record["gradient/cosine/first/1"] <= 1
    assert record["test/mAP"] == 0.5


def test_an_experiment_of_two_processes_ends_where_one_does(tmp_path, config_of):
    path = tmp_path / "experiment.yaml"
    pair, alone = config_of("pair", *FROZEN), config_of("alone", *FROZEN)
    done = run("experiment", path, f"output={pair.output}", *FROZEN, launcher=TWO)
    assert done.returncode == 0, done.stderr[:6000]
    run_experiment(alone)
    first, second = (
        load_file(Path(config.output) / "last" / "model.safetensors") for config in (alone, pair)
    )
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-5)
    records = [read_metrics(Path(config.output)) for config in (alone, pair)]
    for one, other in zip(*records, strict=True):
        assert one["train/total"] == pytest.approx(other["train/total"], rel=1e-4)
        assert one["test/mAP"] == pytest.approx(other["test/mAP"], abs=0.02)


def test_a_run_that_was_shot_resumes_bit_for_bit(tmp_path, config_of):
    shot = config_of("shot")
    done = run("shot", tmp_path / "experiment.yaml", f"output={shot.output}")
    assert done.returncode == -signal.SIGKILL, done.stderr[:6000]
    assert [record["epoch"] for record in read_metrics(Path(shot.output))] == [0, 1]
    run_experiment(config_of("shot", "resume=true"))
    whole = config_of("whole")
    run_experiment(whole)
    names = [f"last/{name}" for name in ("model", "ema", "optimizer")]
    for name in [*names, "best"]:
        first, second = (
            load_file(Path(config.output) / f"{name}.safetensors") for config in (whole, shot)
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def main(task: str, path: str, *overrides: str) -> None:
    import conftest

    from reid_dhm.config import load_config
    from reid_dhm.models.providers import BACKBONES

    torch.set_num_threads(1)
    BACKBONES["six"] = conftest.SIX

    def shoot(epoch: int, step: int, steps: int, figures: dict[str, float]) -> None:
        if (epoch, step) == (2, 3):
            os.kill(os.getpid(), signal.SIGKILL)

    if task == "measure":
        one_of_two(Path(path), conftest.build_model, conftest.build_trainer)
    else:
        run_experiment(load_config(path, overrides), shoot if task == "shot" else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
