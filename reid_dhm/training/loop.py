"""The training loop: train an epoch, evaluate, log, keep the state to resume from.

Accelerate carries devices, precision, accumulation and processes. How the model is evaluated, and
how the parts are built from a configuration, is left to :mod:`reid_dhm.experiments`.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from reid_dhm.data.loading import Batch, Loader
from reid_dhm.data.samplers import Sampler
from reid_dhm.data.samples import Sample
from reid_dhm.errors import NonFiniteLossError
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training import randomness
from reid_dhm.training.objective import Objective
from reid_dhm.training.optimization import Optimization
from reid_dhm.training.run_folder import RunFolder, RunLog
from reid_dhm.training.state import find_state, load_state, match_memory_format, save_state
from reid_dhm.training.teacher import Teacher, add_terms

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""(B, 3, h, w) uint8 → (B, 3, H, W) float32."""
Evaluate = Callable[[ReIDModel], dict[str, float]]
"""Figures of a model in eval mode, by name."""
Diagnose = Callable[[ReIDModel, int], dict[str, float]]
"""Further figures of a model after an epoch."""
StepReport = Callable[[int, int, int, dict[str, float]], None]
"""Called after every step with the epoch, steps done in it, steps in it, and running figures."""
EpochReport = Callable[[dict[str, float]], None]
"""Called with every epoch's record."""


@dataclass(frozen=True)
class TrainingData:
    """The training images, how they are drawn into batches, and how they are augmented.

    Attributes:
        samples: the images; error messages name their files.
        loader: batches of uint8 images by their rows in ``samples``.
        sampler: the rows of every batch of an epoch.
        augment: applied to every batch.
        teacher: an outside teacher of the images, or ``None``.
    """

    samples: Sequence[Sample]
    loader: Loader
    sampler: Sampler
    augment: Augment
    teacher: Teacher | None = None


class Trainer:
    """A model in training.

    Args:
        model: trained in place; on the accelerator's device.
        data: the training images.
        objective: the loss that is minimised.
        optimization: how a step changes the weights.
        run: the folder that keeps the state, the best weights and the log.
        accelerator: device, precision, processes.
        seed: of every random draw.
    """

    def __init__(
        self,
        model: ReIDModel,
        data: TrainingData,
        objective: Objective,
        optimization: Optimization,
        run: RunFolder,
        accelerator: Accelerator,
        seed: int,
    ) -> None:
        self.data, self.objective, self.optimization = data, objective, optimization
        self.run, self.accelerator, self.seed = run, accelerator, seed
        self.epoch = 0  # the next one to run
        self.best: dict[str, float] = {}
        self.loss = math.nan  # of the last step
        self.plain_model = model
        self.model, self.optimizer = accelerator.prepare(model, optimization.optimizer)

    def resume(self) -> bool:
        """Continue from the run folder's state if it has one; returns whether it has.

        Raises:
            InputError: the state is damaged or belongs to another model.
        """
        found = find_state(self.run.path / "last")
        if found is None:
            return False
        progress = load_state(found, self._modules(), self.optimizer.optimizer)
        match_memory_format(self.optimizer.optimizer)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(progress["scaler"])
        self.epoch, self.best = progress["epoch"], progress["best"]
        return True

    def fit(
        self,
        evaluate: Evaluate,
        select: str = "mAP",
        evaluate_every: int = 1,
        diagnose: Diagnose | None = None,
        diagnose_every: int = 0,
        progress: StepReport | None = None,
        report: EpochReport | None = None,
    ) -> dict[str, float]:
        """Train to the last epoch of the schedule.

        Args:
            evaluate: measures the model every ``evaluate_every`` epochs and after the last.
            select: the figure, higher is better, by which the best weights are kept.
            evaluate_every: epochs between two evaluations, at least 1.
            diagnose: measures the model in training every ``diagnose_every`` epochs.
            diagnose_every: epochs between two diagnoses; 0 is never.
            progress: called after every step.
            report: called after every epoch.

        Returns:
            The figures of the best evaluation, with its ``epoch``.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite, or the weights are at the end of an
                epoch; the last good state stays.
        """
        main, epochs = self.accelerator.is_main_process, self.optimization.schedule.epochs
        log = RunLog(self.run.path, self.epoch - 1, silent=not main)
        while self.epoch < epochs:
            record: dict[str, Any] = {"epoch": self.epoch, **self.train_epoch(progress)}
            done = self.epoch + 1
            if diagnose and diagnose_every and done % diagnose_every == 0:
                # on every process: triplets are mined across them
                record |= diagnose(self.plain_model, self.epoch)
            if done % evaluate_every == 0 or done == epochs:
                if main:
                    record |= self._evaluate(evaluate, select)
                self.accelerator.wait_for_everyone()
            self.epoch = done
            if main:
                log.write(record)
                self._save()
                if report is not None:
                    report(record)
            self.accelerator.wait_for_everyone()
        log.close()
        return self.best

    def train_epoch(self, progress: StepReport | None = None) -> dict[str, float]:
        """Train the epoch ``self.epoch``; returns its logged figures."""
        rank = self.accelerator.process_index
        torch.manual_seed(randomness.derived_seed(self.seed, randomness.GLOBAL, self.epoch, rank))
        self.model.train()
        if self.optimization.freeze_bn:
            freeze_batch_norm(self.plain_model)
        sums: dict[str, Tensor] = defaultdict(
            lambda: torch.zeros((), device=self.accelerator.device)
        )
        images, waited, start = 0, 0.0, time.perf_counter()
        # whole optimiser steps alone: half-accumulated gradients would not survive a resume
        accumulate = self.accelerator.gradient_accumulation_steps
        steps = len(self.data.sampler) // accumulate * accumulate
        batches = self.inputs(self.data.sampler.epoch(self.epoch))
        for step in range(steps):
            before = time.perf_counter()
            batch, inputs = next(batches)
            waited += time.perf_counter() - before
            lr = self.optimization.schedule.learning_rate(self.epoch + step / steps)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            for name, value in self.step(batch, inputs, step).items():
                sums[name] += value
            images += len(batch.labels)
            if progress is not None:
                progress(self.epoch, step + 1, steps, {"loss": self.loss, "lr": lr})
        if not all(bool(weight.isfinite().all()) for weight in self.plain_model.parameters()):
            self._refuse("the weights are not finite after", batch, step)
        means = self.accelerator.reduce(torch.stack(list(sums.values())) / steps, "mean")
        seconds = time.perf_counter() - start
        return {
            **{f"train/{name}": value for name, value in zip(sums, means.tolist(), strict=True)},
            "train/lr": lr,
            "train/seconds": seconds,
            "train/pictures_per_second": images * self.accelerator.num_processes / seconds,
            "train/input_share": waited / seconds,
        }

    def inputs(self, index_batches: list[Tensor]) -> Iterator[tuple[Batch, Tensor]]:
        """Batches with their augmented (B, 3, H, W) float32 images."""
        rank = self.accelerator.process_index
        for step, batch in enumerate(self.data.loader.batches(index_batches)):
            draws = randomness.generator(self.seed, randomness.AUGMENTATION, self.epoch, step, rank)
            yield batch, self.data.augment(batch.images, draws)

    def step(self, batch: Batch, inputs: Tensor, step: int) -> dict[str, Tensor]:
        """One forward, backward and (unless accumulating) update; returns the objective's terms."""
        # the same on every process: all of them fork and drop alike
        draws = randomness.generator(self.seed, randomness.STRUCTURE, self.epoch, step)
        forks = self.plain_model.draw_forks(draws)
        clip_norm, ema = self.optimization.clip_norm, self.optimization.ema
        with self.accelerator.accumulate(self.model):
            with self.accelerator.autocast():
                outputs = self.model(inputs, forks)
            terms = self.objective(outputs, batch.labels, draws)
            if self.data.teacher is not None:
                projection = self.plain_model.projection
                taught = self.data.teacher.part(outputs[0], batch.indices, projection)
                terms = add_terms(terms, taught)
            self.loss = terms["total"].item()
            if not math.isfinite(self.loss):
                self._refuse(f"the loss is {self.loss} at", batch, step)
            self.accelerator.backward(terms["total"])
            if clip_norm is not None and self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if ema is not None and self.accelerator.sync_gradients:
                ema.update_parameters(self.plain_model)
        accuracy = (outputs[0].logits.argmax(dim=1) == batch.labels).float().mean()
        return {**{k: v.detach() for k, v in terms.items()}, "accuracy": accuracy}

    def _refuse(self, what: str, batch: Batch, step: int) -> NoReturn:
        files = ", ".join(str(self.data.samples[i].path) for i in batch.indices.tolist())
        kept = find_state(self.run.path / "last")
        raise NonFiniteLossError(
            f"{what} epoch {self.epoch}, step {step}: lower train.lr, use "
            f"train.precision=no, or look at the batch's images; the last good checkpoint is "
            f"{kept or 'none yet'}; the batch: {files}"
        )

    def _evaluate(self, evaluate: Evaluate, select: str) -> dict[str, float]:
        start = time.perf_counter()
        ema = self.optimization.ema
        model: Any = self.plain_model if ema is None else ema.module
        was_training = model.training
        figures = evaluate(model.eval())
        model.train(was_training)
        if not self.best or figures[select] > self.best[select]:
            self.best = {"epoch": self.epoch, **figures}
            self.run.save_best(model, self.best)
        seconds = time.perf_counter() - start
        return {f"test/{k}": v for k, v in figures.items()} | {"test/seconds": seconds}

    def _modules(self) -> dict[str, nn.Module]:
        ema = self.optimization.ema
        return {"model": self.plain_model} | ({} if ema is None else {"ema": ema})

    def _save(self) -> None:
        scaler = self.accelerator.scaler
        progress = {
            "epoch": self.epoch,
            "best": self.best,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        save_state(self.run.path / "last", self._modules(), self.optimizer.optimizer, progress)


def freeze_batch_norm(model: nn.Module) -> None:
    """Put every batch normalisation into eval mode: running statistics are used, not changed."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
