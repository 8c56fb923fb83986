"""The training loop: one epoch after another, evaluated, logged and checkpointed.

Accelerate carries devices, precision, accumulation and processes; what the model is evaluated on
is the caller's business.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reid_dhm.config import TrainConfig
from reid_dhm.data.loading import Batch
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError, NonFiniteLossError
from reid_dhm.models.card import ModelCard, save_model
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training import randomness
from reid_dhm.training.losses import Objective
from reid_dhm.training.parts import (
    Augment,
    Diagnose,
    Evaluate,
    Loader,
    Progress,
    Report,
    Sampler,
    freeze_batch_norm,
)
from reid_dhm.training.runlog import RunLog
from reid_dhm.training.schedule import Schedule, build_optimizer
from reid_dhm.training.state import find_state, load_state, match_memory_format, save_state


class Trainer:
    """A model being trained into a run folder.

    Args:
        model: trained in place.
        loader, sampler, samples: the training images; samples name files in error messages.
        augment: (B, 3, h, w) uint8 → (B, 3, H, W) float32.
        objective: what is minimised.
        settings: the schedule.
        seed: of every random draw.
        folder: the run folder.
        card: how the model is built and fed; written beside the best weights.
        accelerator: device, precision, processes; made by :func:`build_accelerator`.
        keep_branches: whether the best weights keep the branches (``test.ensemble``).
    """

    def __init__(
        self,
        model: ReIDModel,
        loader: Loader,
        sampler: Sampler,
        samples: Sequence[Sample],
        augment: Augment,
        objective: Objective,
        settings: TrainConfig,
        seed: int,
        folder: Path,
        card: ModelCard,
        accelerator: Accelerator,
        keep_branches: bool = False,
    ) -> None:
        self.loader, self.sampler, self.samples = loader, sampler, samples
        self.augment, self.objective = augment, objective
        self.settings, self.seed, self.folder, self.card = settings, seed, folder, card
        self.keep_branches = keep_branches
        self.accelerator = accelerator
        self.epoch = 0  # the next one to run
        self.best: dict[str, float] = {}
        self.loss = math.nan  # of the last step
        if len(sampler) < settings.accumulate:
            raise InputError(
                f"train.accumulate is {settings.accumulate}, but an epoch has {len(sampler)} "
                "batches: lower it"
            )
        self.schedule = Schedule(
            settings.schedule,
            settings.epochs,
            settings.milestones,
            settings.gamma,
            settings.warmup_epochs,
            settings.warmup_factor,
        )
        model.to(accelerator.device).to(memory_format=torch.channels_last)
        if settings.sync_bn and accelerator.num_processes > 1:
            if accelerator.device.type != "cuda":
                raise InputError("train.sync_bn needs GPUs: leave it out on the CPU")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        optimizer = build_optimizer(
            model.parameters(),
            settings.optimizer,
            settings.lr,
            settings.weight_decay,
            settings.momentum,
        )
        self.plain_model = model
        self.ema = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
            if settings.ema is not None
            else None
        )
        if settings.compile:
            model.compile()
        self.model, self.optimizer = accelerator.prepare(model, optimizer)

    @property
    def evaluated_model(self) -> ReIDModel:
        """The averaged model where there is one, else the model itself."""
        averaged = self.ema.module if self.ema is not None else self.plain_model
        return cast(ReIDModel, averaged)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint if it has one; returns whether it has."""
        found = find_state(self.folder / "last")
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
        diagnose: Diagnose | None = None,
        progress: Progress | None = None,
        report: Report | None = None,
    ) -> dict[str, float]:
        """Train to the last epoch.

        Args:
            evaluate: figures of a model in eval mode, by name.
            select: the figure, higher is better, by which the best weights are kept.
            diagnose: further figures by model and epoch, every ``diagnose_every`` epochs.
            progress: told after every step.
            report: told after every epoch.

        Returns:
            The figures of the best evaluation, with its ``epoch``.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite, or the weights are at the end of an
                epoch; the last good checkpoint stays.
        """
        main = self.accelerator.is_main_process
        log = RunLog(self.folder, self.epoch - 1, silent=not main)
        while self.epoch < self.settings.epochs:
            record: dict[str, Any] = {"epoch": self.epoch, **self.train_epoch(progress)}
            done = self.epoch + 1
            if diagnose and _due(done, self.settings.diagnose_every):
                # on every process: triplets are mined across them
                record |= diagnose(self.plain_model, self.epoch)
            if _due(done, self.settings.evaluate_every) or done == self.settings.epochs:
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

    def train_epoch(self, progress: Progress | None = None) -> dict[str, float]:
        """Train the epoch ``self.epoch``; returns what is logged of it."""
        rank = self.accelerator.process_index
        torch.manual_seed(randomness.derived_seed(self.seed, randomness.GLOBAL, self.epoch, rank))
        self.model.train()
        if self.settings.freeze_bn:
            freeze_batch_norm(self.plain_model)
        sums: dict[str, Tensor] = defaultdict(
            lambda: torch.zeros((), device=self.accelerator.device)
        )
        images, waited, start = 0, 0.0, time.perf_counter()
        # whole optimiser steps alone: half-accumulated gradients would not survive a resume
        steps = len(self.sampler) // self.settings.accumulate * self.settings.accumulate
        batches = self.inputs(self.sampler.epoch(self.epoch))
        for step in range(steps):
            before = time.perf_counter()
            batch, inputs = next(batches)
            waited += time.perf_counter() - before
            lr = self._set_learning_rate(step / steps)
            terms = self.step(batch, inputs, step)
            for name, value in terms.items():
                sums[name] += value
            images += len(batch.labels)
            if progress is not None:
                progress(self.epoch, step + 1, steps, {"loss": self.loss, "lr": lr})
        if not self._weights_are_finite():
            self._refuse("the weights are not finite after", batch, step)
        means = torch.stack(list(sums.values())) / steps
        means = self.accelerator.reduce(means, "mean")
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
        for step, batch in enumerate(self.loader.batches(index_batches)):
            draws = randomness.generator(self.seed, randomness.AUGMENTATION, self.epoch, step, rank)
            yield batch, self.augment(batch.images, draws)

    def step(self, batch: Batch, inputs: Tensor, step: int) -> dict[str, Tensor]:
        """One forward, backward and (unless accumulating) update; returns the objective's terms."""
        # the same on every process: all of them fork and drop alike
        draws = randomness.generator(self.seed, randomness.STRUCTURE, self.epoch, step)
        forks = self.plain_model.draw_forks(draws)
        with self.accelerator.accumulate(self.model):
            with self.accelerator.autocast():
                outputs = self.model(inputs, forks)
            terms = self.objective(outputs, batch.labels, draws)
            self.loss = terms["total"].item()
            if not math.isfinite(self.loss):
                self._refuse(f"the loss is {self.loss} at", batch, step)
            self.accelerator.backward(terms["total"])
            if self.settings.clip_norm is not None and self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.ema is not None and self.accelerator.sync_gradients:
                self.ema.update_parameters(self.plain_model)
        accuracy = (outputs[0].logits.argmax(dim=1) == batch.labels).float().mean()
        return {**{k: v.detach() for k, v in terms.items()}, "accuracy": accuracy}

    def _set_learning_rate(self, share: float) -> float:
        lr = self.settings.lr * self.schedule.factor(self.epoch + share)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _weights_are_finite(self) -> bool:
        return all(bool(weight.isfinite().all()) for weight in self.plain_model.parameters())

    def _refuse(self, what: str, batch: Batch, step: int) -> NoReturn:
        files = ", ".join(str(self.samples[i].path) for i in batch.indices.tolist())
        kept = find_state(self.folder / "last")
        raise NonFiniteLossError(
            f"{what} epoch {self.epoch}, step {step}: lower train.lr, use "
            f"train.precision=no, or look at the batch's images; the last good checkpoint is "
            f"{kept or 'none yet'}; the batch: {files}"
        )

    def _evaluate(self, evaluate: Evaluate, select: str) -> dict[str, float]:
        start = time.perf_counter()
        model = self.evaluated_model
        was_training = model.training
        figures = evaluate(model.eval())
        model.train(was_training)
        if not self.best or figures[select] > self.best[select]:
            self.best = {"epoch": self.epoch, **figures}
            kept = model if self.keep_branches else model.deploy()
            card = replace(
                self.card,
                branches=self.card.branches if self.keep_branches else (),
                training={**self.card.training, **self.best},
            )
            save_model(kept, card, self.folder / "best.safetensors")
        seconds = time.perf_counter() - start
        return {f"test/{k}": v for k, v in figures.items()} | {"test/seconds": seconds}

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"model": self.plain_model}
        return modules if self.ema is None else {**modules, "ema": self.ema}

    def _save(self) -> None:
        scaler = self.accelerator.scaler
        progress = {
            "epoch": self.epoch,
            "best": self.best,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        save_state(self.folder / "last", self._modules(), self.optimizer.optimizer, progress)


def _due(done: int, every: int) -> bool:
    """Whether something that happens every so many epochs (0: never) does after ``done``."""
    return every > 0 and done % every == 0
