"""Choices and ranges of the configuration's values."""

from __future__ import annotations

import logging
import math

from omegaconf import OmegaConf

from reid_dhm.config.schema import Config
from reid_dhm.errors import InputError

logger = logging.getLogger(__name__)

MAX_SIDE = 4096
"""Largest height and width of the input, in pixels."""

_CHOICES = {
    "method": ("baseline", "dsl", "dhm"),
    "task": ("reid", "classification"),
    "train.optimizer": ("adam", "adamw", "sgd"),
    "train.schedule": ("multistep", "cosine"),
    "train.precision": ("no", "bf16", "fp16"),
    "loss.mimic_terms": ("all", "random"),
    "model.branch_rule": ("light", "reference"),
    "test.metric": ("cosine", "euclidean"),
}
_POSITIVE = (
    *("train.epochs", "train.num_identities", "train.num_instances", "train.batch_size"),
    *("train.lr", "train.accumulate", "train.evaluate_every", "train.clip_norm"),
    *("loss.temperature", "loss.similarity_temperature"),
)
_NOT_NEGATIVE = (
    *("seed", "data.cache_limit", "data.workers", "data.pad", "loss.alpha", "loss.metric_weight"),
    *("loss.similarity", "loss.teacher_relations", "loss.teacher_embedding"),
    *("train.weight_decay", "train.warmup_epochs", "train.diagnose_every"),
)
_SHARES = (
    *("data.flip", "data.erasing", "loss.smoothing", "loss.mimic_drop"),
    *("train.momentum", "train.warmup_factor", "train.gamma"),
)
_COUNTS = (
    *("train.epochs", "train.num_identities", "train.num_instances", "train.batch_size"),
    *("train.accumulate", "train.evaluate_every", "train.diagnose_every", "data.workers"),
)
_RANGES = (
    (_POSITIVE, lambda value: 0 < value < math.inf, "must be positive"),
    (_NOT_NEGATIVE, lambda value: 0 <= value < math.inf, "must not be negative"),
    (_SHARES, lambda value: 0 <= value <= 1, "must lie between 0 and 1"),
    (_COUNTS, lambda value: value < 2**31, "must be less than 2^31"),
    (("seed",), lambda value: value < 2**63, "must be less than 2^63"),
    (("data.pad",), lambda value: value <= MAX_SIDE, f"must be at most {MAX_SIDE}"),
)


def check(config: Config, source: str) -> None:
    """Refuse values out of range.

    Raises:
        InputError: naming ``source``, the key and the value.
    """
    flat = OmegaConf.structured(config)
    for key, allowed in _CHOICES.items():
        value = OmegaConf.select(flat, key)
        if value not in allowed:
            raise InputError(f"{source}: {key} is {value!r}: use one of {', '.join(allowed)}")
    for keys, fits, demand in _RANGES:
        for key in keys:
            value = OmegaConf.select(flat, key)
            if value is not None and not fits(value):
                raise InputError(f"{source}: {key} is {str(value)[:40]}: it {demand}")
    for key in ("train.milestones", "loss.head_weights"):
        if any(value < 0 for value in OmegaConf.select(flat, key)):
            raise InputError(
                f"{source}: {key} is {OmegaConf.select(flat, key)}: none may be negative"
            )
    train = config.train
    for key in ("num_instances", "num_identities"):
        if config.task == "reid" and config.loss.metric != "none" and getattr(train, key) < 2:
            raise InputError(
                f"{source}: train.{key} is 1, which leaves {config.loss.metric} nothing to "
                "compare: use 2 or more, or loss.metric=none"
            )
    if train.warmup_epochs >= train.epochs:
        logger.warning(
            "%s: the warm-up of %g epochs outlasts the %d of training, which never reaches its "
            "learning rate: lower train.warmup_epochs",
            source,
            train.warmup_epochs,
            train.epochs,
        )
    if not config.data.name:
        raise InputError(f"{source}: data.name is empty: name at least one dataset")
    size = config.model.size
    if len(size) != 2 or not all(8 <= side <= MAX_SIDE for side in size):
        raise InputError(
            f"{source}: model.size is {str(size)[:80]}: give [height, width], each from 8 to "
            f"{MAX_SIDE} pixels"
        )
    for key, least in (("mean", -math.inf), ("std", 0.0)):
        colour = getattr(config.model, key)
        if len(colour) != 3 or not all(least < value < math.inf for value in colour):
            raise InputError(
                f"{source}: model.{key} is {str(colour)[:80]}: give one number per colour, red, "
                f"green, blue{', each above 0' if key == 'std' else ''}"
            )
    if config.train.ema is not None and not 0 < config.train.ema < 1:
        raise InputError(f"{source}: train.ema is {config.train.ema}: a decay lies between 0 and 1")
    _check_loss(config, source)


def _check_loss(config: Config, source: str) -> None:
    loss = config.loss
    if config.method == "dhm" and loss.alpha <= 0 and loss.similarity <= 0:
        raise InputError(f"{source}: method dhm needs loss.alpha above 0: use method: dsl for none")
    if loss.mimic_terms == "random" and loss.mimic_drop > 0:
        raise InputError(
            f"{source}: loss.mimic_terms=random draws its own share of terms: leave "
            f"loss.mimic_drop={loss.mimic_drop} out"
        )
    if loss.teacher is not None and loss.teacher_relations == loss.teacher_embedding == 0:
        raise InputError(
            f"{source}: loss.teacher has no effect: set loss.teacher_relations or "
            "loss.teacher_embedding above 0"
        )
    unknown = sorted(set(loss.teacher_options) - {"input", "backbone", "size", "neck"})
    if unknown:
        raise InputError(
            f"{source}: loss.teacher_options has an unknown key {unknown[0]!r:.60}: use input, "
            "backbone, size or neck"
        )
