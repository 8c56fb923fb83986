"""The keys of a configuration, their types and their defaults (the recipe of design §4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reid_dhm.data.normalisation import IMAGENET_MEAN, IMAGENET_STD


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
    # options of the dataset's loader (datasets/README.md): camera_regex, boxes, queries, with_val
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
    branch_rule: str = "light"  # light or reference: how long and wide the branches are
    fork: str = "fixed"
    mean: list[float] = field(default_factory=lambda: list(IMAGENET_MEAN))  # of RGB in 0 … 1
    std: list[float] = field(default_factory=lambda: list(IMAGENET_STD))


@dataclass
class LossConfig:
    """The terms of the objective; what heads mimic needs ``method: dhm``, a teacher does not."""

    smoothing: float = 0.1
    metric: str = "triplet"
    metric_weight: float = 1.0
    margin: float | None = None
    alpha: float = 1.0
    temperature: float = 1.0
    head_weights: list[float] = field(default_factory=list)
    mimic_drop: float = 0.0
    mimic_terms: str = "all"  # all, or random: the authors' variant
    similarity: float = 0.0  # weight of mimicking the batch's similarities
    similarity_temperature: float = 0.1
    teacher: str | None = None  # a checkpoint that embeds, or embeddings (.npz)
    teacher_options: dict[str, Any] = field(default_factory=dict)  # input, backbone, size, neck
    teacher_relations: float = 1.0  # weight of the teacher's similarities in the batch
    teacher_embedding: float = 1.0  # weight of its embeddings, through a projection


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
    nesterov: bool = True  # of sgd, where it has momentum
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
    freeze_bn: bool = False  # all statistics stay as loaded, also in fresh branches and necks
    compile: bool = False
    evaluate_every: int = 10
    diagnose_every: int = 0  # epochs between measurements of gradient agreement; 0 is never


@dataclass
class TestConfig:
    """How the model is evaluated during training; ``reid-dhm eval`` has further options."""

    metric: str = "cosine"
    camera_rule: bool = True  # ignore gallery images of the query's person and camera
    flip: bool = False
    ensemble: bool = False  # keep branch embeddings, at their own cost


@dataclass
class Config:
    """The configuration of an experiment."""

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
