import copy
import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid_dhm import extras
from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.models.heads import ReIDOutput
from reid_dhm.training.losses import (
    LIBRARY_LOSSES,
    batch_hard_triplet,
    build_metric_loss,
    id_loss,
    mimicking_loss,
)
from reid_dhm.training.objective import Criterion

seeds = st.integers(0, 2**32 - 1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def smoothed_cross_entropy(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    classes = logits.shape[1]
    target = np.full_like(logits, smoothing / classes)
    target[np.arange(len(labels)), labels] += 1 - smoothing
    return float(-(target * log_softmax(logits)).sum(axis=1).mean())


def triplet(features: np.ndarray, labels: np.ndarray, margin: float) -> float:
    hinges = []
    for i, anchor in enumerate(features):
        distance = [math.dist(anchor, other) for other in features]
        own = [d for j, d in enumerate(distance) if labels[j] == labels[i] and j != i]
        strangers = [d for j, d in enumerate(distance) if labels[j] != labels[i]]
        if own and strangers:
            hinges.append(max(0.0, max(own) - min(strangers) + margin))
    return sum(hinges) / len(hinges) if hinges else 0.0


def divergence(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    return float(temperature**2 * (np.exp(p) * (p - q)).sum(axis=1).mean())


def random_batch(seed: int, count: int = 8, people: int = 3) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    values = torch.from_numpy(random.normal(size=(count, 5)))
    return values, torch.from_numpy(random.integers(0, people, count))


@given(seeds, st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_id_loss_is_smoothed_cross_entropy(seed, smoothing):
    logits, labels = random_batch(seed)
    expected = smoothed_cross_entropy(logits.numpy(), labels.numpy(), smoothing)
    assert float(id_loss(logits, labels, smoothing)) == pytest.approx(expected, rel=1e-5)


def test_id_loss_by_hand():
    # softmax of (ln 3, 0) is (3/4, 1/4); the smoothed target (0.95, 0.05)
    loss = id_loss(torch.tensor([[math.log(3), 0.0]]), torch.tensor([0]), smoothing=0.1)
    assert float(loss) == pytest.approx(0.95 * math.log(4 / 3) + 0.05 * math.log(4))


@given(seeds, st.integers(1, 6), st.floats(0, 2))
@settings(max_examples=50, deadline=None)
def test_triplet_mines_the_hardest_of_each_anchor(seed, people, margin):
    features, labels = random_batch(seed, people=people)
    expected = triplet(features.float().numpy(), labels.numpy(), margin)
    assert float(batch_hard_triplet(features, labels, margin)) == pytest.approx(expected, abs=1e-5)


LINE = torch.tensor([[0.0], [1.0], [3.0], [7.0]])  # distances are read off the number line


def test_triplet_by_hand():
    # farthest own and nearest stranger: 0: 1, 3; 1: 1, 2; 3: 4, 2; 7: 4, 6
    labels = torch.tensor([5, 5, 9, 9])
    assert float(batch_hard_triplet(LINE, labels, 0.5)) == pytest.approx((2 + 0.5) / 4)
    assert float(batch_hard_triplet(LINE, labels, 2)) == pytest.approx((0 + 1 + 4 + 0) / 4)


def test_triplet_leaves_out_who_is_alone():
    # person 9 has one image: 0: 1, 3; 1: 1, 2 are the only anchors
    labels = torch.tensor([5, 5, 9])
    assert float(batch_hard_triplet(LINE[:3], labels, 2)) == pytest.approx((0 + 1) / 2)


@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [1, 2, 3, 4]], ids=["no stranger", "K = 1"])
def test_triplet_without_any_triplet_costs_nothing_and_pulls_nowhere(labels):
    features = LINE.clone().requires_grad_()
    loss = batch_hard_triplet(features, torch.tensor(labels))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_triplet_of_equal_features_costs_the_margin_and_has_a_finite_gradient():
    features = torch.ones(6, 4, requires_grad=True)
    loss = batch_hard_triplet(features, torch.tensor([0, 0, 1, 1, 2, 2]), 0.3)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.3)
    assert bool(features.grad.isfinite().all())


def test_triplet_moves_the_hardest_pair_together_and_the_nearest_stranger_away():
    features = torch.tensor([[0.0], [4.0], [1.0], [50.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 1, 2])
    batch_hard_triplet(features, labels, 0.3).backward()
    # anchor 0: |f0 - f1| - |f0 - f2|, anchor 1: |f1 - f0| - |f1 - f2|; others have no positive
    expected = torch.tensor([[-1 + 1 - 1], [1 + 1 - 1], [-1 + 1], [0]]) / 2
    torch.testing.assert_close(features.grad, expected.float())


def test_triplet_survives_half_precision():
    features = torch.randn(8, 64, generator=torch.Generator().manual_seed(0)) * 1000
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    half = features.bfloat16()
    assert batch_hard_triplet(half, labels).dtype == torch.float32
    expected = triplet(half.float().numpy(), labels.numpy(), 0.3)
    assert float(batch_hard_triplet(half, labels)) == pytest.approx(expected, rel=1e-5)


@given(seeds, st.floats(0.25, 8))
@settings(max_examples=25, deadline=None)
def test_mimicking_is_the_divergence_from_the_teacher(seed, temperature):
    student, _ = random_batch(seed)
    teacher, _ = random_batch(seed + 1)
    expected = divergence(student.numpy(), teacher.numpy(), temperature)
    loss = float(mimicking_loss(student, teacher, temperature))
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_mimicking_by_hand():
    # at T = 2: teacher (3/4, 1/4), student (1/2, 1/2)
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(mimicking_loss(torch.zeros(1, 2), teacher, 2)) == pytest.approx(expected)


def test_mimicking_has_a_temperature_of_one_by_default():
    student, teacher = (random_batch(seed)[0] for seed in (0, 1))
    assert float(mimicking_loss(student, teacher)) == pytest.approx(
        divergence(student.numpy(), teacher.numpy(), 1.0), rel=1e-4
    )


def test_only_losses_of_the_library_need_it(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert build_metric_loss("triplet") is batch_hard_triplet
    for name in LIBRARY_LOSSES:
        with pytest.raises(UnsupportedError, match=f"loss.metric: {name} needs .*\\[metric\\]"):
            build_metric_loss(name)


def test_mimicking_oneself_costs_nothing():
    logits, _ = random_batch(0)
    assert float(mimicking_loss(logits, logits + 7, 3)) == pytest.approx(0, abs=1e-6)


def test_the_teacher_learns_nothing_from_its_pupil():
    student, teacher = (random_batch(seed)[0].requires_grad_() for seed in (0, 1))
    mimicking_loss(student, teacher).backward()
    assert teacher.grad is None
    assert float(student.grad.abs().sum()) > 0


def heads_of(seed: int, count: int = 3) -> tuple[list[ReIDOutput], Tensor]:
    """Random outputs of ``count`` heads (leaves that collect gradients) for the same labels."""
    random = torch.Generator().manual_seed(seed)
    outputs = []
    for _ in range(count):
        features = torch.randn(8, 6, generator=random).requires_grad_()
        logits = torch.randn(8, 5, generator=random).requires_grad_()
        outputs.append(ReIDOutput(features, features, logits))
    return outputs, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])


def test_the_objective_is_the_formula_of_dhm():
    outputs, labels = heads_of(0)
    weights, alpha, temperature, smoothing, metric_weight, margin = (1, 0.5, 2), 0.7, 3, 0.2, 0.4, 1
    criterion = Criterion(
        alpha,
        temperature,
        smoothing,
        build_metric_loss("triplet", margin),
        metric_weight,
        weights,
    )
    y = labels.numpy()
    z = [out.logits.detach().numpy().astype(np.float64) for out in outputs]
    f = [out.features.detach().numpy().astype(np.float64) for out in outputs]
    identity = sum(w * smoothed_cross_entropy(z[h], y, smoothing) for h, w in enumerate(weights))
    triplets = sum(w * metric_weight * triplet(f[h], y, margin) for h, w in enumerate(weights))
    pairs = permutations(range(3), 2)
    mimic = alpha * sum(divergence(z[i], z[j], temperature) for i, j in pairs)
    terms = {name: value.detach() for name, value in criterion(outputs, labels).items()}
    assert float(terms["id"]) == pytest.approx(identity, rel=1e-5)
    assert float(terms["metric"]) == pytest.approx(triplets, rel=1e-5)
    assert float(terms["mimic"]) == pytest.approx(mimic, rel=1e-5)
    assert float(terms["total"]) == pytest.approx(identity + triplets + mimic, rel=1e-5)


def test_the_defaults_are_those_of_the_paper_and_weigh_every_head_alike():
    outputs, labels = heads_of(3)
    explicit = Criterion(
        alpha=1.0,
        temperature=1.0,
        smoothing=0.1,
        metric=batch_hard_triplet,
        metric_weight=1.0,
        head_weights=(1.0, 1.0, 1.0),
        mimic_drop=0.0,
    )
    found, expected = Criterion()(outputs, labels), explicit(outputs, labels)
    assert {name: float(value.detach()) for name, value in found.items()} == {
        name: float(value.detach()) for name, value in expected.items()
    }


def test_the_parts_of_all_heads_add_up():
    outputs, labels = heads_of(1)
    criterion = Criterion(alpha=0.3, head_weights=(1, 2, 3))
    parts = [criterion.part(outputs, labels, head) for head in range(3)]
    total = sum(float(value) for part in parts for value in part.values())
    assert total == pytest.approx(float(criterion(outputs, labels)["total"]), rel=1e-6)


@pytest.mark.parametrize("head", range(3))
def test_a_heads_part_reaches_no_other_head(head):
    outputs, labels = heads_of(2)
    part = Criterion().part(outputs, labels, head)
    torch.stack(list(part.values())).sum().backward()
    for other, output in enumerate(outputs):
        if other == head:
            assert float(output.logits.grad.abs().sum()) > 0
            assert float(output.features.grad.abs().sum()) > 0
        else:
            assert output.logits.grad is None
            assert output.features.grad is None


def test_mimicking_pulls_every_head_towards_the_others_and_pushes_no_teacher():
    outputs, labels = heads_of(3)
    criterion = Criterion(alpha=2.0, temperature=2.0, metric=None)
    criterion(outputs, labels)["mimic"].backward()
    for i, output in enumerate(outputs):
        # d/dz_i of T² KL(p_j || p_i) is T (p_i - p_j) / B, and nothing where i teaches
        probability = [torch.softmax(o.logits.detach() / 2, dim=1) for o in outputs]
        expected = sum(probability[i] - probability[j] for j in range(3) if j != i)
        torch.testing.assert_close(output.logits.grad, 2.0 * 2 * expected / len(labels))


def test_deep_supervision_is_the_objective_without_mimicking():
    outputs, labels = heads_of(4)
    dsl, dhm = Criterion(alpha=0)(outputs, labels), Criterion(alpha=1)(outputs, labels)
    assert float(dsl["mimic"]) == 0
    assert float(dsl["total"]) == pytest.approx(float(dhm["total"] - dhm["mimic"]), rel=1e-5)
    dsl["total"].backward()
    assert all(output.logits.grad is not None for output in outputs)


def test_one_head_has_nobody_to_mimic():
    outputs, labels = heads_of(5, count=1)
    assert float(Criterion(alpha=1)(outputs, labels)["mimic"]) == 0


def test_without_a_metric_loss_its_term_is_zero():
    outputs, labels = heads_of(6)
    terms = Criterion(metric=None, alpha=0)(outputs, labels)
    assert float(terms["metric"]) == 0
    assert float(terms["total"]) == pytest.approx(float(terms["id"]))


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0), (1.0,) * 4])
def test_head_weights_must_be_one_per_head(weights):
    outputs, labels = heads_of(7)
    with pytest.raises(InputError, match=f"has {len(weights)} values for 3 heads"):
        Criterion(head_weights=weights)(outputs, labels)


def test_dropping_always_leaves_no_mimicking():
    outputs, labels = heads_of(8)
    terms = Criterion(mimic_drop=1)(outputs, labels, torch.Generator().manual_seed(0))
    assert float(terms["mimic"]) == 0


def test_mimicking_terms_are_dropped_at_their_rate_each_by_itself():
    outputs, labels = heads_of(9)
    z = [output.logits.detach().numpy().astype(np.float64) for output in outputs]
    terms = np.array([divergence(z[i], z[j], 1) for i, j in permutations(range(3), 2)])
    kept = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(float)  # every subset of six
    sums = kept @ terms
    criterion, generator = Criterion(mimic_drop=0.3, metric=None), torch.Generator().manual_seed(1)
    drawn = []
    for _ in range(400):
        mimic = float(criterion(outputs, labels, generator)["mimic"])
        subset = int(np.abs(sums - mimic).argmin())
        assert mimic == pytest.approx(sums[subset], abs=1e-4)
        drawn.append(kept[subset])
    rates = np.mean(drawn, axis=0)
    # five standard deviations of a mean of 400 draws
    assert np.abs(rates - 0.7).max() < 5 * math.sqrt(0.3 * 0.7 / 400)
    correlations = np.corrcoef(np.transpose(drawn))[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 0.25


def test_the_generator_decides_which_terms_are_dropped():
    outputs, labels = heads_of(10)
    criterion = Criterion(mimic_drop=0.5)

    def series(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        return [float(criterion(outputs, labels, generator)["mimic"]) for _ in range(8)]

    assert series(0) == series(0) != series(1)
    assert len(set(series(0))) > 1


@pytest.mark.parametrize("name", LIBRARY_LOSSES)
def test_library_losses_are_the_librarys_own(name):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    features, labels = random_batch(0)
    expected = getattr(losses, LIBRARY_LOSSES[name])()(features.float(), labels)
    found = build_metric_loss(name)
    assert found is not None
    assert float(found(features, labels)) == float(expected) > 0


def test_smoothing_is_0_1_unless_given():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 5, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0])
    expected = smoothed_cross_entropy(logits.double().numpy(), labels.numpy(), 0.1)
    assert float(id_loss(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_the_triplets_margin_is_0_3_unless_given():
    features, labels = random_batch(0)
    plain, wide = build_metric_loss("triplet"), build_metric_loss("triplet", margin=1.5)
    assert plain is not None
    assert wide is not None
    values = features.float().numpy(), labels.numpy()
    assert float(plain(features, labels)) == pytest.approx(triplet(*values, 0.3), rel=1e-5)
    assert float(wide(features, labels)) == pytest.approx(triplet(*values, 1.5), rel=1e-5)


def test_no_metric_loss_can_be_asked_for():
    assert build_metric_loss("none") is None


@pytest.mark.parametrize("name", ["none", *LIBRARY_LOSSES])
def test_a_margin_is_refused_where_nothing_takes_it(name):
    with pytest.raises(InputError, match=rf"loss\.margin is 0\.3, but {name} has no margin"):
        build_metric_loss(name, margin=0.3)


def test_an_unknown_metric_loss_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="'tripplet': use one of triplet, circle"):
        build_metric_loss("tripplet")


def test_a_criterion_has_no_state():
    outputs, labels = heads_of(11)
    criterion = Criterion(mimic_drop=0.5)
    before = copy.deepcopy(criterion)
    first = criterion(outputs, labels, torch.Generator().manual_seed(3))["total"]
    criterion(outputs, labels, torch.Generator().manual_seed(4))
    assert torch.equal(criterion(outputs, labels, torch.Generator().manual_seed(3))["total"], first)
    assert criterion == before
