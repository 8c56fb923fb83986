import copy
import json
import math
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from reid_dhm.data.augmentation import TestTransform
from reid_dhm.data.samplers import IdentitySampler
from reid_dhm.errors import InputError, NonFiniteLossError
from reid_dhm.training.loop import freeze_batch_norm
from reid_dhm.training.objective import Criterion
from reid_dhm.training.run_folder import read_metrics
from reid_dhm.training.state import find_state

SMOOTH = Criterion(metric=None)  # mining would turn a last bit into another triplet
STEPS = 4  # of an epoch: eight people with two pairs of images, four people a batch


def nothing(model) -> dict[str, float]:
    return {"mAP": 0.0}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def train_by_hand(model, images, epochs, lr_of, group=1, clip=None, decay=None):
    """Plain gradient descent as one would write it; returns the running average, if any."""
    sampler = IdentitySampler(images.labels.tolist(), 4, 2, seed=0)
    average, gradient = None, None
    for epoch in range(epochs):
        for step, rows in enumerate(sampler.epoch(epoch)):
            model.train()
            inputs = TestTransform((32, 16))(images.images[rows])
            loss = SMOOTH(model(inputs), images.labels[rows])["total"]
            trained = [p for p in model.parameters() if p.requires_grad]
            gradients = torch.autograd.grad(loss / group, trained)
            gradient = gradients if step % group == 0 else [*map(torch.add, gradient, gradients)]
            if step % group < group - 1:
                continue
            length = torch.cat([g.flatten() for g in gradient]).norm()
            scale = 1.0 if clip is None else min(1.0, clip / float(length))
            with torch.no_grad():
                for parameter, g in zip(trained, gradient, strict=True):
                    parameter -= lr_of(epoch + step / STEPS) * scale * g
            if decay is not None:
                now = {k: v.double() for k, v in model.state_dict().items()}
                average = {
                    k: v if average is None else decay * average[k] + (1 - decay) * v
                    for k, v in now.items()
                }
    return average


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    floating = {name: value for name, value in expected.items() if value.is_floating_point()}
    assert floating
    for name, value in floating.items():
        torch.testing.assert_close(found[name].double(), value.double(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"clip_norm": 0.05}])
def test_training_is_gradient_descent_on_the_objective(trainer_of, model_of, images, settings):
    model, twin = (model_of(after=("first", "middle")) for _ in range(2))
    common = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.05}
    trainer_of(model, SMOOTH, **common, **settings).fit(nothing)
    options = {"group": settings.get("accumulate", 1), "clip": settings.get("clip_norm")}
    train_by_hand(twin, images, 2, lambda progress: 0.05, **options)
    assert_close(model.state_dict(), twin.state_dict())
    assert not same(model.state_dict(), model_of(after=("first", "middle")).state_dict())


def test_a_clipped_step_is_as_long_as_the_bound(trainer_of, weights_of):
    trainer = trainer_of(optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=1.0, clip_norm=0.01)
    before = weights_of(trainer.plain_model)
    batch, inputs = next(trainer.inputs(trainer.data.sampler.epoch(0)))
    trainer.step(batch, inputs, 0)
    moved = [(p.detach() - before[k]).flatten() for k, p in trainer.plain_model.named_parameters()]
    assert float(torch.cat(moved).norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("group", [1, 2])
def test_the_average_follows_its_recurrence_and_is_what_gets_evaluated(
    trainer_of, model_of, images, weights_of, group
):
    model, twin, seen = model_of(), model_of(), []
    common = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.05, "ema": 0.7}
    common["accumulate"] = group

    def evaluate(model) -> dict[str, float]:
        seen.append(weights_of(model))
        return {"mAP": 1.0}

    trainer = trainer_of(model, SMOOTH, **common)
    trainer.fit(evaluate)
    average = train_by_hand(twin, images, 2, lambda progress: 0.05, group, decay=0.7)
    assert average is not None
    floating = {k: v for k, v in average.items() if twin.state_dict()[k].is_floating_point()}
    assert_close(seen[-1], floating)
    assert same(load_file(trainer.run.path / "best.safetensors"), seen[-1])
    assert not same(seen[-1], weights_of(model))


def test_weights_move_once_a_group_of_batches(trainer_of, weights_of):
    trainer = trainer_of(accumulate=2)
    states = [weights_of(trainer.plain_model.head.classifier)]
    for step, (batch, inputs) in enumerate(trainer.inputs(trainer.data.sampler.epoch(0))):
        trainer.step(batch, inputs, step)
        states.append(weights_of(trainer.plain_model.head.classifier))
    moved = [not same(before, after) for before, after in pairwise(states)]
    assert moved == [False, True, False, True]


def test_an_epoch_leaves_no_gradient_behind(trainer_of):
    trainer = trainer_of(accumulate=3)
    steps = []
    trainer.fit(nothing, progress=lambda epoch, step, of, figures: steps.append((epoch, step, of)))
    assert steps == [(epoch, step, 3) for epoch in (0, 1) for step in (1, 2, 3)]
    assert all(parameter.grad is None for parameter in trainer.plain_model.parameters())


def test_more_accumulation_than_batches_is_refused(trainer_of):
    with pytest.raises(InputError, match=r"train\.accumulate is 5, but an epoch has 4 batches"):
        trainer_of(accumulate=5)


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_batch_norm_keeps_its_statistics_and_trains_on(trainer_of, weights_of, freeze):
    trainer = trainer_of(freeze_bn=freeze)
    before = weights_of(trainer.plain_model)
    trainer.fit(nothing)
    after = trainer.plain_model.state_dict()
    statistics = [k for k in before if k.endswith(("running_mean", "running_var", "tracked"))]
    assert statistics
    assert all(torch.equal(before[k], after[k]) == freeze for k in statistics)
    assert not torch.equal(before["head.classifier.weight"], after["head.classifier.weight"])


def test_freezing_leaves_other_modules_in_train_mode(model_of):
    model = model_of().train()
    freeze_batch_norm(model)
    kinds = {type(module).__name__: module.training for module in model.modules()}
    assert (kinds["Conv2d"], kinds["BatchNorm2d"], kinds["BatchNorm1d"]) == (True, False, False)


def test_the_rate_of_every_step_follows_the_schedule(trainer_of):
    settings = {"warmup_epochs": 1, "warmup_factor": 0.2, "milestones": [2], "gamma": 0.5}
    trainer, rates = trainer_of(epochs=3, lr=0.01, **settings), []
    trainer.fit(nothing, progress=lambda *told: rates.append(told[-1]["lr"]))
    assert rates == pytest.approx([0.002, 0.004, 0.006, 0.008, *4 * [0.01], *4 * [0.005]])
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert read_metrics(trainer.run.path)[0]["train/lr"] == pytest.approx(0.008)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["multistep", "cosine"])
def test_every_optimizer_learns_under_every_schedule(trainer_of, optimizer, schedule):
    lr = 0.05 if optimizer == "sgd" else 0.003
    trainer = trainer_of(epochs=8, optimizer=optimizer, schedule=schedule, lr=lr, milestones=[6])
    trainer.fit(nothing)
    records = read_metrics(trainer.run.path)
    assert records[-1]["train/id"] < 0.9 * records[0]["train/id"]
    assert records[-1]["train/accuracy"] > records[0]["train/accuracy"]


def test_bfloat16_computes_coarsely_and_keeps_whole_weights(trainer_of, model_of):
    losses = {}
    for precision in ("no", "bf16"):
        trainer = trainer_of(model_of(after=("first",)), precision=precision, epochs=1)
        trainer.fit(nothing)
        assert {p.dtype for p in trainer.plain_model.parameters()} == {torch.float32}
        losses[precision] = read_metrics(trainer.run.path)[0]["train/total"]
        trainer.run.path.rename(trainer.run.path.with_name(precision))
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.05)
    assert losses["bf16"] != losses["no"]


def test_a_record_holds_the_means_of_its_epoch(trainer_of):
    trainer, losses, reported = trainer_of(epochs=1), [], []
    trainer.fit(
        nothing, progress=lambda *told: losses.append(told[-1]["loss"]), report=reported.append
    )
    (record,) = read_metrics(trainer.run.path)
    assert reported == [record]
    assert record["train/total"] == pytest.approx(sum(losses) / STEPS)
    parts = [record[f"train/{name}"] for name in ("id", "metric", "mimic")]
    assert record["train/total"] == pytest.approx(sum(parts))
    assert 0 <= record["train/input_share"] < 1
    assert record["train/pictures_per_second"] == pytest.approx(STEPS * 8 / record["train/seconds"])
    assert (record["epoch"], record["test/mAP"]) == (0, 0.0)


def test_evaluation_is_honoured_and_the_best_is_kept(trainer_of, weights_of):
    scripted, seen = iter([0.3, 0.8, 0.5, 0.8]), []

    def evaluate(model) -> dict[str, float]:
        assert not model.training
        seen.append(weights_of(model))
        return {"mAP": next(scripted), "rank1": 0.1 * len(seen)}

    trainer = trainer_of(epochs=7, evaluate_every=2)
    best = trainer.fit(evaluate)
    # after epochs 1, 3 and 5, and the last, 6; the first of equals stays
    assert best == {"epoch": 3, "mAP": 0.8, "rank1": 0.2}
    tested = {r["epoch"]: r["test/mAP"] for r in read_metrics(trainer.run.path) if "test/mAP" in r}
    assert tested == {1: 0.3, 3: 0.8, 5: 0.5, 6: 0.8}
    assert same(load_file(trainer.run.path / "best.safetensors"), seen[1])
    card = json.loads((trainer.run.path / "best.json").read_text())
    assert card["training"] == {"epoch": 3, "mAP": 0.8, "rank1": 0.2}


def test_another_figure_can_select_the_best(trainer_of):
    scripted = iter([(0.9, 0.1), (0.2, 0.7)])

    def evaluate(model) -> dict[str, float]:
        return dict(zip(("mAP", "top1"), next(scripted), strict=True))

    assert trainer_of(evaluate_every=1).fit(evaluate, select="top1")["epoch"] == 1


@pytest.mark.parametrize("keep", [True, False])
def test_branches_are_kept_on_request_alone(trainer_of, model_of, keep):
    model = model_of(after=("first", "middle"))
    trainer = trainer_of(model, keep_branches=keep)
    trainer.fit(nothing)
    names = load_file(trainer.run.path / "best.safetensors").keys()
    expected = model if keep else model.deploy()
    assert names == expected.state_dict().keys()
    card = json.loads((trainer.run.path / "best.json").read_text())
    assert [spec["after"] for spec in card["branches"]] == (["first", "middle"] if keep else [])


def test_a_resumed_training_keeps_the_best_of_before(trainer_of, model_of):
    first = trainer_of(epochs=1)
    first.fit(lambda model: {"mAP": 0.9})
    kept = load_file(first.run.path / "best.safetensors")
    second = trainer_of(model_of(seed=7), epochs=2)
    assert second.resume()
    assert second.fit(lambda model: {"mAP": 0.4}) == {"epoch": 0, "mAP": 0.9}
    assert same(load_file(first.run.path / "best.safetensors"), kept)


def test_a_finished_training_resumes_to_its_result(trainer_of):
    trainer_of().fit(nothing)
    again = trainer_of()
    again.resume()
    before = copy.deepcopy(again.plain_model.state_dict())
    assert again.fit(nothing) == {"epoch": 1, "mAP": 0.0}
    assert same(before, again.plain_model.state_dict())
    assert [record["epoch"] for record in read_metrics(again.run.path)] == [0, 1]


def test_there_may_be_nothing_to_resume(trainer_of):
    assert not trainer_of().resume()


def test_diagnosis_runs_when_it_is_due(trainer_of):
    asked = []

    def diagnose(model, epoch: int) -> dict[str, float]:
        asked.append((epoch, model.training))
        return {"gradient/x": 0.5}

    trainer = trainer_of(epochs=5, diagnose_every=2)
    trainer.fit(nothing, diagnose=diagnose)
    assert asked == [(1, True), (3, True)]
    assert [r["epoch"] for r in read_metrics(trainer.run.path) if "gradient/x" in r] == [1, 3]
    trainer_of(epochs=5, diagnose_every=0).fit(nothing, diagnose=diagnose)
    assert len(asked) == 2


class Breaking:
    """An objective that breaks at one of its calls."""

    def __init__(self, at: int, how: str) -> None:
        self.calls, self.at, self.how = 0, at, how

    def __call__(self, outputs, labels, generator=None) -> dict[str, Tensor]:
        terms = Criterion()(outputs, labels, generator)
        if self.calls == self.at:
            logits = outputs[0].logits
            # the root's slope at zero is infinite, and infinity times zero is not a number
            poison = {"loss": logits.sum() * math.nan, "gradient": (logits.sum() * 0).sqrt()}
            terms["total"] = terms["total"] + poison[self.how]
        self.calls += 1
        return terms


@pytest.mark.parametrize(
    ("at", "how", "what"),
    [
        (STEPS + 2, "loss", "the loss is nan at epoch 1, step 2"),
        (STEPS + 1, "gradient", "the loss is nan at epoch 1, step 2"),
        (2 * STEPS - 1, "gradient", "the weights are not finite after epoch 1, step 3"),
    ],
)
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(
    trainer_of, weights_of, at, how, what
):
    trainer, kept = trainer_of(epochs=3, objective=Breaking(at, how)), []
    with pytest.raises(NonFiniteLossError, match=what) as caught:
        trainer.fit(nothing, report=lambda record: kept.append(weights_of(trainer.plain_model)))
    step = int(what[-1])
    rows = trainer.data.sampler.epoch(1)[step]
    assert str(caught.value).endswith(", ".join(f"{row:02}.jpg" for row in rows.tolist()))
    assert str(trainer.run.path / "last") in str(caught.value)
    found = find_state(trainer.run.path / "last")
    assert found is not None
    assert same(load_file(found / "model.safetensors"), kept[0])
    assert [record["epoch"] for record in read_metrics(trainer.run.path)] == [0]


def test_a_rate_that_is_far_too_high_stops_the_run(trainer_of):
    trainer = trainer_of(optimizer="sgd", lr=1e30)
    with pytest.raises(NonFiniteLossError, match="the last good checkpoint is none yet"):
        trainer.fit(nothing)
    assert find_state(trainer.run.path / "last") is None
