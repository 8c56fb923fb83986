import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor, nn

from reid_dhm.config import Config, TrainConfig, load_config
from reid_dhm.data.augmentation import TestTransform
from reid_dhm.data.loading import Batch
from reid_dhm.data.samplers import IdentitySampler
from reid_dhm.data.samples import Sample
from reid_dhm.experiments.build import build_trainer as build_trainer_of
from reid_dhm.models.backbones import Backbone, Provider, Split
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import ModelCard
from reid_dhm.models.providers import BACKBONES
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training.loop import Trainer, TrainingData
from reid_dhm.training.objective import Criterion, Objective
from reid_dhm.training.processes import build_accelerator
from reid_dhm.training.run_folder import RunFolder

PEOPLE, SIZE = 8, (32, 16)
P, K = 4, 2  # people and images of each in a batch: four batches an epoch


@pytest.fixture(autouse=True)
def own_accelerate(monkeypatch) -> Iterator[None]:
    """One thread of the CPU, and none of the process-wide state that Accelerate keeps."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(BACKBONES, "six", SIX)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    forget_accelerate()
    yield
    forget_accelerate()
    torch.set_num_threads(threads)


def forget_accelerate() -> None:
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def six_layers() -> nn.Sequential:
    """Six convolutions, every other one of them halving the resolution."""

    def layer(channels: int, out: int, stride: int) -> nn.Module:
        convolution = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())

    widths = [(3, 8, 2), (8, 8, 1), (8, 8, 2), (8, 8, 1), (8, 16, 2), (16, 16, 1)]
    return nn.Sequential(*(layer(*width) for width in widths))


def split_six(model: nn.Module) -> Split:
    layers = list(model.children())
    return Split({"first": layers[:2], "middle": layers[2:4], "late": layers[4:]})


SIX = Provider(six_layers, split_six)


def build_model(seed: int = 0, after: tuple[str, ...] = ()) -> ReIDModel:
    """The network of six layers, with derived branches."""
    torch.manual_seed(seed)
    backbone = Backbone("six", split_six(six_layers()))
    return ReIDModel(backbone, PEOPLE, [BranchSpec(name) for name in after])


@dataclass
class Images:
    """A loader of images in memory."""

    images: Tensor
    labels: Tensor

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        for rows in index_batches:
            yield Batch(self.images[rows], self.labels[rows], rows)


def build_images() -> Images:
    """Four noisy images of each person's colours."""
    random = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 200, (PEOPLE, 1, 3, 4, 1), generator=random)
    noise = torch.randint(0, 55, (PEOPLE, 4, 3, *SIZE), generator=random)
    images = (colours.repeat_interleave(8, dim=3) + noise).to(torch.uint8).flatten(0, 1)
    return Images(images, torch.arange(PEOPLE).repeat_interleave(4))


def write_people(root: Path, count: int = PEOPLE, seed: int = 0) -> Path:
    """Write such images of as many people for training as for tests, named as Market-1501's."""
    random = np.random.default_rng(seed)
    for split, first in (("bounding_box_train", 1), ("query", 101), ("bounding_box_test", 101)):
        (root / split).mkdir(parents=True)
        cameras = (1, 2) if split == "query" else (1, 1, 2, 2)
        for pid in range(first, first + count):
            colours = np.random.default_rng((seed, pid)).integers(0, 200, (4, 1, 3))
            for number, camera in enumerate(cameras):
                noise = random.integers(0, 55, (*SIZE, 3))
                image = (colours.repeat(8, axis=0) + noise).astype(np.uint8)
                name = f"{pid:04}_c{camera}s1_{number:06}_01.png"
                assert cv2.imwrite(str(root / split / name), image)
    return root


EXPERIMENT = """
method: dhm
data: {{name: synthetic, root: {root}, pad: 2}}
model:
  backbone: six
  weights: null
  size: [32, 16]
  fork: random
  branches: [{{after: first}}, {{after: middle, init: copy}}]
loss: {{mimic_drop: 0.5}}
train:
  epochs: 4
  num_identities: 4
  num_instances: 2
  lr: 0.003
  schedule: cosine
  warmup_epochs: 1
  ema: 0.8
  evaluate_every: 1
"""


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """The root of a set of eight people."""
    return write_people(tmp_path / "data" / "synthetic").parent


@pytest.fixture
def write_set() -> Callable[..., Path]:
    return write_people


@pytest.fixture
def config_of(tmp_path: Path, people: Path) -> Callable[..., Config]:
    """A short experiment on ``people`` into a folder by its name, with overrides."""
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT.format(root=people))

    def config_of(folder: str, *overrides: str) -> Config:
        forget_accelerate()  # as a new process would
        return load_config(path, [f"output={tmp_path / folder}", *overrides])

    return config_of


@pytest.fixture
def images() -> Images:
    return build_images()


@pytest.fixture
def model_of() -> Callable[..., ReIDModel]:
    return build_model


def plain(images: Tensor, generator: torch.Generator) -> Tensor:
    """Normalise, in place of augmentation."""
    return TestTransform(SIZE)(images)


def build_trainer(
    folder: Path,
    model: ReIDModel | None = None,
    objective: Objective | None = None,
    keep_branches: bool = False,
    **settings: object,
) -> Trainer:
    """A trainer of the little network; earlier ones of this process cannot train any more."""
    forget_accelerate()
    settings = {"epochs": 2, "warmup_epochs": 0, "evaluate_every": 100, **settings}
    train = TrainConfig(**settings)  # type: ignore[arg-type]
    model, images = model or build_model(), build_images()
    accelerator = build_accelerator(train.precision, train.accumulate)
    rank, world_size = accelerator.process_index, accelerator.num_processes
    branches = tuple(BranchSpec(branch.after) for branch in model.side_branches)
    data = TrainingData(
        [Sample(Path(f"{row:02}.jpg"), row // 4, 0) for row in range(len(images.labels))],
        images,
        IdentitySampler(images.labels.tolist(), P, K, 0, rank, world_size),
        plain,
    )
    run = RunFolder(folder, ModelCard("six", PEOPLE, SIZE, branches=branches), keep_branches)
    objective = objective or Criterion()
    trainer = build_trainer_of(train, model, data, objective, run, accelerator, seed=0)
    every = {"evaluate_every": train.evaluate_every, "diagnose_every": train.diagnose_every}
    trainer.fit = partial(trainer.fit, **every)  # type: ignore[method-assign]
    return trainer


@pytest.fixture
def trainer_of(tmp_path: Path) -> Callable[..., Trainer]:
    return partial(build_trainer, tmp_path / "run")


@pytest.fixture
def weights_of() -> Callable[[nn.Module], dict[str, Tensor]]:
    """Copies of a module's tensors by name."""
    return lambda module: copy.deepcopy(module.state_dict())
