"""The DHM objective beside a few lines written from the paper, and the authors' recipe."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_dhm.config import load_config
from reid_dhm.data.augmentation import TrainAugmentation
from reid_dhm.experiments.build import build_augmentation, build_criterion, build_model
from reid_dhm.models.branches import default_branches
from reid_dhm.models.heads import ReIDOutput
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training.objective import Criterion
from reid_dhm.training.optimization import Schedule, build_optimizer

EPSILON = 1e-8  # what the authors' released code adds to both distributions


def paper_objective(logits: list[Tensor], labels: Tensor, epsilon: float = 0.0) -> Tensor:
    """Cross-entropy of every head, and the divergence of every ordered pair; α = T = 1."""
    total = sum(F.cross_entropy(z, labels) for z in logits)
    classes = logits[0].shape[1]
    smooth = [(z.softmax(1) + epsilon) / (1 + classes * epsilon) for z in logits]
    for student in smooth:
        for teacher in smooth:
            if teacher is not student:
                p = teacher.detach()
                total = total + (p * (p / student).log()).sum(1).mean()
    return total


def leaves(classes: int, deviation: float = 3) -> tuple[list[Tensor], Tensor]:
    random = torch.Generator().manual_seed(0)
    logits = [
        torch.randn(64, classes, generator=random, dtype=torch.float64) * deviation
        for _ in range(3)
    ]
    labels = torch.randint(classes, (64,), generator=random)
    return [z.requires_grad_() for z in logits], labels


def ours(logits: list[Tensor], labels: Tensor) -> Tensor:
    outputs = [ReIDOutput(z, z, z) for z in logits]
    return Criterion(smoothing=0, metric=None)(outputs, labels)["total"]


@pytest.mark.parametrize("classes", [10, 1000])
def test_the_objective_and_its_gradients_are_the_papers_in_float64(classes):
    logits, labels = leaves(classes)
    found, expected = ours(logits, labels), paper_objective(logits, labels)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(expected.item(), rel=1e-14)
    for a, b in zip(
        torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("deviation", "share"), [(1, 2.7e-5), (3, 3.3e-3)])
@torch.no_grad()
def test_the_authors_smoothing_is_all_that_differs_from_their_code(deviation, share):
    """What it takes from the mimicking terms at 1,000 classes grows with the heads' confidence."""
    logits, labels = leaves(1000, deviation)
    exact, theirs = paper_objective(logits, labels), paper_objective(logits, labels, EPSILON)
    mimicking = exact - sum(F.cross_entropy(z, labels) for z in logits)
    assert float((exact - theirs) / mimicking) == pytest.approx(share, rel=0.2)
    assert float(ours(logits, labels)) == pytest.approx(float(exact), rel=1e-14)


def test_one_step_of_a_branched_network_has_the_papers_gradients():
    torch.manual_seed(0)
    backbone = build_backbone("cifar_resnet32", last_stride=2)
    model = ReIDModel(backbone, 10, default_branches(backbone, "reference"), neck="none").double()
    images, labels = torch.randn(4, 3, 32, 32, dtype=torch.float64), torch.arange(4)
    outputs = model.train()(images)
    parameters = list(model.parameters())
    found = torch.autograd.grad(
        Criterion(smoothing=0, metric=None)(outputs, labels)["total"], parameters, retain_graph=True
    )
    expected = torch.autograd.grad(
        paper_objective([out.logits for out in outputs], labels), parameters
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


RECIPES = {  # epochs, milestones, factor, weight decay, batch (the authors' TRAINING.md)
    "cifar100_resnet32_dhm": (164, [81, 122], 0.1, 1e-4, 128),
    "cifar100_wrn16_8_dhm": (200, [60, 120, 160], 0.2, 5e-4, 128),
    "cifar100_wrn28_10_dhm": (200, [60, 120, 160], 0.2, 5e-4, 128),
    "cifar100_densenet_bc100_12_dhm": (300, [150, 225], 0.1, 1e-4, 64),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_authors_recipe_can_be_configured(name):
    config = load_config(name, ["data.root=/nowhere"])
    train = config.train
    epochs, milestones, gamma, decay, batch = RECIPES[name]
    assert (train.epochs, train.milestones, train.gamma) == (epochs, milestones, gamma)
    assert (train.weight_decay, train.batch_size, train.lr) == (decay, batch, 0.1)
    schedule = Schedule(
        train.schedule, train.epochs, train.milestones, train.gamma, train.warmup_epochs, 0.01, 0.1
    )
    assert schedule.learning_rate(0) == 0.1
    for number, milestone in enumerate(milestones):
        before, after = schedule.learning_rate(milestone - 1e-9), schedule.learning_rate(milestone)
        assert before == pytest.approx(0.1 * gamma**number)
        assert after == pytest.approx(0.1 * gamma ** (number + 1))
    criterion = build_criterion(config)
    assert (criterion.smoothing, criterion.metric, criterion.alpha, criterion.temperature) == (
        *(0, None, 1, 1),
    )
    augmentation = build_augmentation(config, (32, 32))
    assert isinstance(augmentation, TrainAugmentation)
    assert (augmentation.flip, augmentation.pad, augmentation.erasing) == (0.5, 4, 0)
    assert augmentation.mean == (0.49139968, 0.48215827, 0.44653124)
    with torch.device("meta"):
        model, card = build_model(config, 100, (32, 32))
    assert (card.mean, card.std) == (augmentation.mean, augmentation.std)
    assert [branch.rule for branch in card.branches] == ["reference"] * 2
    assert isinstance(model.head.neck, nn.Identity)


def test_sgd_without_nesterov_is_heavy_ball():
    """The authors' optimiser: v ← μv + g, w ← w - lr v, with decay in the gradient."""
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer([weight], "sgd", 0.1, 0.05, 0.9, nesterov=False)
    expected, velocity = 2.0, 0.0
    for gradient in (10.0, 0.1, -0.2, 0.1):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = 0.9 * velocity + gradient + 0.05 * expected
        expected -= 0.1 * velocity
        assert float(weight.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_recipe_is_shipped_and_old_sgd_is_unchanged(tmp_path):
    old = tmp_path / "old.yaml"
    old.write_text("train: {optimizer: sgd}\n")
    assert load_config(old).train.nesterov is True
    assert load_config(Path("cifar100_resnet32_dhm")).train.nesterov is False
