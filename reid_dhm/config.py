"""Typed configuration: YAML, a base file, and ``key=value`` overrides; unknown keys are refused.

Configuration is read at the edge (:mod:`reid_dhm.cli`); nothing below takes a :class:`Config`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reid_dhm.errors import InputError

logger = logging.getLogger(__name__)


@dataclass
class DataConfig:
    """Which images, and how they are kept, sampled and augmented."""

    name: list[str] = field(default_factory=lambda: ["market1501"])
    root: str = "datasets"
    cache_limit: float = 4.0  # GiB of decoded images a process keeps; above it, workers decode
    workers: int = 4  # processes that decode above cache_limit
    augment: bool = True
    flip: float = 0.5
    pad: int = 10
    erasing: float = 0.5
    # of the dataset's loader (datasets/README.md): camera_regex, boxes, with_val
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class BranchConfig:
    """One side branch; ``init`` is ``fresh`` or ``copy``."""

    after: str = ""
    init: str = "fresh"


@dataclass
class ModelConfig:
    """Backbone, heads and branches."""

    backbone: str = "resnet50"
    weights: str | None = "imagenet"  # imagenet, a file, or null for random
    size: list[int] = field(default_factory=lambda: [256, 128])  # height, width in pixels
    last_stride: int = 1
    pooling: str = "avg"
    neck: str = "bnneck"
    branches: list[BranchConfig] | None = None  # null: the backbone's two default branches
    fork: str = "fixed"


@dataclass
class LossConfig:
    """The terms of the objective; ``alpha`` and ``mimic_drop`` act with ``method: dhm`` alone."""

    smoothing: float = 0.1
    metric: str = "triplet"
    metric_weight: float = 1.0
    margin: float | None = None
    alpha: float = 1.0
    temperature: float = 1.0
    head_weights: list[float] = field(default_factory=list)
    mimic_drop: float = 0.0


@dataclass
class TrainConfig:
    """The schedule."""

    epochs: int = 120
    num_identities: int = 16  # P, of the whole global batch
    num_instances: int = 4  # K
    batch_size: int = 64  # for task: classification, which samples images, not identities
    optimizer: str = "adam"
    lr: float = 3.5e-4
    weight_decay: float = 5e-4
    momentum: float = 0.9  # of sgd
    schedule: str = "multistep"
    milestones: list[int] = field(default_factory=lambda: [40, 70])
    gamma: float = 0.1
    warmup_epochs: float = 10.0
    warmup_factor: float = 0.01
    precision: str = "no"  # no, bf16, fp16
    accumulate: int = 1
    clip_norm: float | None = None
    ema: float | None = None  # decay per step, e.g. 0.999
    sync_bn: bool = False
    freeze_bn: bool = False  # all statistics stay as loaded, those of fresh branches and necks too
    compile: bool = False
    evaluate_every: int = 10
    diagnose_every: int = 0  # epochs between measurements of gradient agreement; 0 is never


@dataclass
class TestConfig:
    """How the model is evaluated during training; ``tools/eval.py`` has the rest."""

    metric: str = "cosine"
    camera_rule: bool = True  # leave out the query's own person from the query's own camera
    flip: bool = False
    ensemble: bool = False  # keep branch embeddings, at their own cost


@dataclass
class Config:
    """Everything an experiment is made of."""

    method: str = "dhm"
    task: str = "reid"
    seed: int = 0
    output: str = ""  # run folder; empty: runs/<name of the configuration file>
    resume: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)


_CHOICES = {
    "method": ("baseline", "dsl", "dhm"),
    "task": ("reid", "classification"),
    "train.optimizer": ("adam", "adamw", "sgd"),
    "train.schedule": ("multistep", "cosine"),
    "train.precision": ("no", "bf16", "fp16"),
    "test.metric": ("cosine", "euclidean"),
}
_POSITIVE = (
    *("train.epochs", "train.num_identities", "train.num_instances", "train.batch_size"),
    *("train.lr", "train.accumulate", "train.evaluate_every", "train.clip_norm"),
    "loss.temperature",
)
_NOT_NEGATIVE = (
    *("seed", "data.cache_limit", "data.workers", "data.pad", "loss.alpha", "loss.metric_weight"),
    *("train.weight_decay", "train.warmup_epochs", "train.diagnose_every"),
)
_SHARES = (
    *("data.flip", "data.erasing", "loss.smoothing", "loss.mimic_drop"),
    *("train.momentum", "train.warmup_factor", "train.gamma"),
)
_RANGES = (
    (_POSITIVE, lambda value: 0 < value < math.inf, "must be positive"),
    (_NOT_NEGATIVE, lambda value: 0 <= value < math.inf, "must not be negative"),
    (_SHARES, lambda value: 0 <= value <= 1, "must lie between 0 and 1"),
)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file, the ``base:`` file it names, and ``key=value`` overrides.

    Raises:
        InputError: a missing or malformed file, an unknown key, a value of the wrong type or out
            of its range.
    """
    path = Path(path)
    merged = OmegaConf.structured(Config)
    for source, content in [*_read(path), *(_override(text) for text in overrides)]:
        try:
            merged = OmegaConf.merge(merged, _names_as_list(content))
        except OmegaConfBaseException as error:
            raise InputError(_explain(source, error)) from error
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        raise InputError(_explain(str(path), error)) from error
    assert isinstance(config, Config)
    config.output = config.output or str(Path("runs") / path.stem)
    _check(config, path)
    return config


def to_yaml(config: Config) -> str:
    """The resolved configuration, in the form :func:`load_config` reads."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _read(path: Path, seen: tuple[Path, ...] = ()) -> list[tuple[str, dict[str, Any]]]:
    """The file's content behind its base's, base first."""
    if not path.is_file():
        raise InputError(f"configuration {path} does not exist: pass the path of a YAML file")
    if path.resolve() in seen:
        raise InputError(f"configuration {path} is its own base: remove base: from one of the two")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"configuration {path} is no YAML: {_one_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"configuration {path} holds no keys: write lines like 'method: dhm'")
    base = content.pop("base", "")
    if not isinstance(base, str):
        raise InputError(f"configuration {path}: base is {base!r}: name one YAML file beside it")
    below = _read(path.parent / base, (*seen, path.resolve())) if base else []
    return [*below, (str(path), content)]


def _override(text: str) -> tuple[str, dict[str, Any]]:
    if "=" not in text:
        raise InputError(f"override {text!r} has no '=': write it as key=value")
    try:
        content = OmegaConf.to_container(OmegaConf.from_dotlist([text]))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise InputError(f"override {text!r} cannot be read: {_one_line(error)}") from error
    assert isinstance(content, dict)
    return f"override {text!r}", {str(key): value for key, value in content.items()}


def _names_as_list(content: dict[str, Any]) -> dict[str, Any]:
    """Allow ``data.name: market1501`` beside a list of names."""
    data = content.get("data")
    if isinstance(data, dict) and isinstance(data.get("name"), str):
        return {**content, "data": {**data, "name": [data["name"]]}}
    return content


def _explain(source: str, error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None) or "?"
    message = _one_line(error)
    if "not in" in message and "Key" in message:
        return f"{source}: unknown key {key!r}: see reid_dhm/config.py for the keys there are"
    return f"{source}: {key}: {message}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split("full_key:")[0].split())


def _check(config: Config, path: Path) -> None:
    flat = OmegaConf.structured(config)
    for key, allowed in _CHOICES.items():
        value = OmegaConf.select(flat, key)
        if value not in allowed:
            raise InputError(f"{path}: {key} is {value!r}: use one of {', '.join(allowed)}")
    for keys, fits, demand in _RANGES:
        for key in keys:
            value = OmegaConf.select(flat, key)
            if value is not None and not fits(value):
                raise InputError(f"{path}: {key} is {value}: it {demand}")
    for key in ("train.milestones", "loss.head_weights"):
        if any(value < 0 for value in OmegaConf.select(flat, key)):
            raise InputError(
                f"{path}: {key} is {OmegaConf.select(flat, key)}: none may be negative"
            )
    train = config.train
    if config.task == "reid" and config.loss.metric != "none" and train.num_instances < 2:
        raise InputError(
            f"{path}: train.num_instances is 1, which leaves {config.loss.metric} nothing to "
            "compare: use 2 or more, or loss.metric=none"
        )
    if train.warmup_epochs >= train.epochs:
        logger.warning(
            "%s: the warm-up of %g epochs outlasts the %d of training, which never reaches its "
            "learning rate: lower train.warmup_epochs",
            path,
            train.warmup_epochs,
            train.epochs,
        )
    if not config.data.name:
        raise InputError(f"{path}: data.name is empty: name at least one dataset")
    if len(config.model.size) != 2 or min(config.model.size) < 8:
        raise InputError(f"{path}: model.size is {config.model.size}: give [height, width]")
    if config.train.ema is not None and not 0 < config.train.ema < 1:
        raise InputError(f"{path}: train.ema is {config.train.ema}: a decay lies between 0 and 1")
    if config.method == "dhm" and config.loss.alpha <= 0:
        raise InputError(f"{path}: method dhm needs loss.alpha above 0: use method: dsl for none")
