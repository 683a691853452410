import itertools

import numpy as np
import pytest
import torch

from cgml.dynamics.noise import generator
from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

N = 20_000
ARGUMENTS = (3, 1, 4, 1)


def draw(*arguments: int, n: int = N) -> torch.Tensor:
    return torch.randn(n, generator=generator(*arguments), dtype=torch.float64)


def test_a_stream_is_a_function_of_its_arguments():
    torch.randn(3)  # use of the global stream in between changes nothing
    assert torch.equal(draw(*ARGUMENTS), draw(*ARGUMENTS))


def test_the_numbers_are_the_same_on_every_machine():
    """A restart elsewhere, or with the next version, goes on with the same noise."""
    expected = [-0.0288881, -0.5114187, -0.4760055]
    found = torch.randn(3, generator=generator(1, 2, 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_global_stream_is_not_touched():
    before = torch.get_rng_state()
    draw(*ARGUMENTS)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("place", range(4))
def test_every_argument_counts(place):
    other = list(ARGUMENTS)
    other[place] += 1
    assert (draw(*ARGUMENTS) != draw(*other)).all()


def test_arguments_do_not_add_up():
    """Swapped or shifted arguments give other streams."""
    rows = [draw(*row, n=4) for row in itertools.product(range(3), repeat=4)]
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)


def test_the_first_attempt_is_the_default():
    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3, 0))


def test_negative_seeds_are_seeds():
    assert (draw(-1, 0, 0) != draw(1, 0, 0)).all()


@pytest.mark.parametrize("place", range(4))
def test_neighbouring_streams_are_independent(place):
    """Replicas, steps, seeds and attempts: correlation 0 within 4 standard errors."""
    other = list(ARGUMENTS)
    other[place] += 1
    first, second = draw(*ARGUMENTS), draw(*other)
    assert abs((first * second).mean()) < 4.0 / N**0.5
    assert abs((first.square() * second.square()).mean() - 1.0) < 4.0 * (8.0 / N) ** 0.5


def test_first_numbers_of_many_streams_are_normal():
    """Mean and variance across streams, not along one."""
    values = torch.cat([draw(0, 0, step, n=1) for step in range(2000)])
    assert abs(values.mean()) < 4.0 / 2000**0.5
    assert abs(values.var() - 1.0) < 4.0 * (2.0 / 2000) ** 0.5
    lagged = (values[1:] * values[:-1]).mean()
    assert abs(lagged) < 4.0 / 1999**0.5


def test_a_propagator_takes_another_seed(tiny_model):
    """As an engine sets that of a checkpoint: the noise follows."""
    mapping = Mapping.from_partition(
        MolecularGraph.create("AB" * 5, np.ones(10), [[i, i + 1] for i in range(9)]), 5
    )
    ends = []
    for first, later in ((1, 1), (2, 1), (2, 2)):
        propagator = Propagator(load_model(tiny_model), mapping, seed=first)
        propagator.seed = later
        state = propagator.start(np.array([[0.0, 0, 0], [1, 0, 0]]))
        ends.append(propagator.step(state).positions)
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[1], ends[2])
