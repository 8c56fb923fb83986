"""Variants of mimicking: a random share of its terms, similarities, and an outside teacher."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reid_dhm.models.heads import ReIDOutput
from reid_dhm.training.losses import embedding_loss, mimicking_loss, similarity_loss
from reid_dhm.training.objective import Criterion
from reid_dhm.training.teacher import Teacher, add_terms

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def heads_of(seed: int, count: int = 3) -> list[ReIDOutput]:
    random = torch.Generator().manual_seed(seed)

    def values(size: int) -> Tensor:
        return torch.randn(6, size, generator=random, dtype=torch.float64).requires_grad_()

    return [ReIDOutput(values(4), values(4 + head), values(5)) for head in range(count)]


def subsets(outputs: list[ReIDOutput]) -> dict[float, frozenset[int]]:
    """The sum of every subset of the six mimicking terms → the terms in it."""
    terms = [
        float(mimicking_loss(outputs[i].logits.detach(), outputs[j].logits.detach()))
        for i, j in permutations(range(3), 2)
    ]
    return {
        sum(terms[k] for k in range(6) if number >> k & 1): frozenset(
            k for k in range(6) if number >> k & 1
        )
        for number in range(64)
    }


def test_random_terms_leave_out_the_authors_share():
    """⌊U·6⌋ draws with replacement: the number left out is that of a simulation of their line."""
    outputs = heads_of(0)
    known = subsets(outputs)
    sums = np.array(list(known))
    criterion = Criterion(metric=None, mimic_terms="random")
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(600):
        mimic = float(criterion(outputs, LABELS, generator)["mimic"].detach())
        nearest = sums[np.abs(sums - mimic).argmin()]
        assert mimic == pytest.approx(nearest, abs=1e-9)
        found.append(6 - len(known[nearest]))
    # P(k terms left out), counted over every U-interval and every draw of up to five terms
    expected = np.zeros(6)
    for draws in range(6):
        reached = np.zeros(6)
        reached[0] = 1.0
        for _ in range(draws):  # the next draw is new with probability (6 - k) / 6
            stay = reached * np.arange(6) / 6
            move = np.append(0, reached[:-1] * (6 - np.arange(5)) / 6)
            reached = stay + move
        expected += reached / 6
    shares = np.bincount(found, minlength=6) / len(found)
    assert max(found) <= 5  # never all of them
    deviation = np.sqrt(expected * (1 - expected) / len(found)) + 1e-3
    assert (np.abs(shares - expected) < 4.5 * deviation).all()


def test_random_terms_take_no_more_from_the_generator_than_they_say():
    criterion = Criterion(metric=None, mimic_terms="random")
    one, two = (torch.Generator().manual_seed(5) for _ in range(2))
    outputs = heads_of(1)
    first = [float(criterion(outputs, LABELS, one)["total"].detach()) for _ in range(5)]
    assert first == [float(criterion(outputs, LABELS, two)["total"].detach()) for _ in range(5)]
    dsl, before = Criterion(metric=None, alpha=0, mimic_terms="random"), one.get_state()
    dsl(outputs, LABELS, one)
    assert torch.equal(one.get_state(), before)  # nothing to leave out


def by_definition(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    def distribution(x: np.ndarray, i: int) -> np.ndarray:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        others = np.array([math.exp(unit[i] @ unit[j] / temperature) for j in range(6) if j != i])
        return others / others.sum()

    total = 0.0
    for i in range(6):
        p, q = distribution(teacher, i), distribution(student, i)
        total += float((p * np.log(p / q)).sum())
    return total / 6


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_similarity_is_the_divergence_over_the_other_images(temperature):
    student, teacher = heads_of(2)[0].embeddings, heads_of(3)[2].embeddings
    found = similarity_loss(student, teacher, temperature)
    expected = by_definition(student.detach().numpy(), teacher.detach().numpy(), temperature)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    found.backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_similarity_knows_no_scale_and_no_rotation():
    student = heads_of(4)[0].embeddings.detach()
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    assert similarity_loss(student, 7 * student @ rotation).item() == pytest.approx(0, abs=1e-9)


def test_heads_mimic_similarities_of_each_other():
    outputs = heads_of(5)
    criterion = Criterion(metric=None, similarity=0.5, similarity_temperature=0.2)
    terms = criterion(outputs, LABELS)
    expected = 0.5 * sum(
        similarity_loss(outputs[i].embeddings, outputs[j].embeddings, 0.2).item()
        for i, j in permutations(range(3), 2)
    )
    assert terms["similarity"].item() == pytest.approx(expected)
    parts = terms["id"] + terms["metric"] + terms["mimic"] + terms["similarity"]
    assert terms["total"].item() == pytest.approx(parts.item())
    assert "similarity" not in Criterion()(outputs, LABELS)


def test_similarities_alone_are_enough_to_mimic():
    terms = Criterion(metric=None, alpha=0, similarity=1.0)(heads_of(6), LABELS)
    assert terms["mimic"].item() == 0
    assert terms["similarity"].item() > 0


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_left_out_term_leaves_out_its_similarity_too(alpha):
    criterion = Criterion(alpha, metric=None, mimic_drop=1.0, similarity=1.0)
    terms = criterion(heads_of(7), LABELS, torch.Generator().manual_seed(0))
    assert terms["mimic"].item() == terms["similarity"].item() == 0


def test_a_teacher_is_followed_by_relations_and_through_a_projection():
    output, rows = heads_of(8)[0], torch.tensor([9, 3, 4, 0, 7, 2])
    random = torch.Generator().manual_seed(0)
    taught = torch.randn(10, 3, generator=random, dtype=torch.float64)
    projection = nn.Linear(4, 3).double()
    terms = Teacher(taught, 0.5, 2.0, 0.3).part(output, rows, projection)
    assert terms.keys() == {"teacher_relations", "teacher_embedding"}
    relations = by_definition(output.embeddings.detach().numpy(), taught[rows].numpy(), 0.3)
    assert terms["teacher_relations"].item() == pytest.approx(0.5 * relations)
    projected = projection(output.embeddings)
    cosine = (projected * taught[rows]).sum(1) / projected.norm(dim=1) / taught[rows].norm(dim=1)
    assert terms["teacher_embedding"].item() == pytest.approx(2 * (1 - cosine.mean().item()))
    total = add_terms({"id": torch.tensor(1.0), "total": torch.tensor(1.5)}, terms)["total"]
    assert total.item() == pytest.approx(1.5 + sum(term.item() for term in terms.values()))


def test_a_weight_of_zero_leaves_a_teachers_term_out():
    output, rows = heads_of(9)[0], torch.arange(6)
    taught = torch.randn(6, 3)
    assert Teacher(taught, 1, 0).part(output, rows, None).keys() == {"teacher_relations"}
    only = Teacher(taught, 0, 1).part(output, rows, nn.Linear(4, 3).double())
    assert only.keys() == {"teacher_embedding"}


def test_following_an_embedding_exactly_costs_nothing():
    values = torch.randn(5, 3)
    assert embedding_loss(2 * values, values).item() == pytest.approx(0, abs=1e-6)
    assert embedding_loss(-values, values).item() == pytest.approx(2, abs=1e-6)
