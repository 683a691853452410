import numpy as np
import pytest
import torch

from cgml.network.blocks import (
    MLP,
    Directions,
    Interaction,
    RadialBasis,
    VectorReadout,
    edge_differences,
    from_lanes,
    length_and_direction,
    to_lanes,
)

N_NODES, N_EDGES, N_NODE, N_EDGE = 5, 11, 6, 4


@pytest.fixture
def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def seeded():
    """Weights of torch come from the global stream: fix it here, restore it after."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def normal(stream: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=stream, dtype=torch.float64)


def pairs(stream: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    sender, receiver = torch.randint(N_NODES, (2, N_EDGES), generator=stream)
    return sender, receiver


def silu(values: np.ndarray) -> np.ndarray:
    return values / (1.0 + np.exp(-values))


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-12)


def affine(layer: torch.nn.Linear, values: np.ndarray) -> np.ndarray:
    product = values @ layer.weight.detach().numpy().T
    return product if layer.bias is None else product + layer.bias.detach().numpy()


def test_mlp_against_numpy(stream):
    network = MLP(3, 5, 2).double()
    values = normal(stream, 7, 3)
    expected = affine(network.second, silu(affine(network.first, values.numpy())))
    np.testing.assert_allclose(network(values).detach(), expected, atol=1e-12)


def test_a_normalised_mlp_gives_mean_zero_and_variance_one(stream):
    network = MLP(3, 5, 8, normalise=True).double()
    rows = network(normal(stream, 7, 3)).detach()
    np.testing.assert_allclose(rows.mean(dim=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(rows.var(dim=1, correction=0), 1.0, rtol=1e-3)


def test_radial_basis_against_the_formula():
    basis = RadialBasis(n_functions=4, largest=2.7)
    distances = torch.tensor([[0.0], [0.3], [1.0], [14.0], [200.0]])
    found = basis(distances)
    centres = np.array([0.0, 0.9, 1.8, 2.7])
    steps = (np.log(1.0 + distances.numpy()) - centres) / 0.9
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found, np.exp(-0.5 * steps**2), atol=1e-6)


def test_interaction_against_a_loop(stream):
    """The split first layer and the late second one are the unsplit message."""
    layer = Interaction(N_NODE, N_EDGE).double()
    nodes, edges = normal(stream, N_NODES, N_NODE), normal(stream, N_EDGES, N_EDGE)
    sender, receiver = pairs(stream)
    degree = torch.tensor(3.0, dtype=torch.float64)
    new_nodes, new_edges = layer(nodes, edges, sender, receiver, degree)

    weight = torch.cat(
        (layer.edge.weight, layer.receiver.weight, layer.sender.weight), 1
    )
    total = torch.zeros(N_NODES, N_EDGE, dtype=torch.float64)
    for edge in range(N_EDGES):
        i, j = receiver[edge], sender[edge]
        inputs = torch.cat((edges[edge], nodes[i], nodes[j]))
        message = torch.nn.functional.silu(weight @ inputs + layer.edge.bias)
        close(new_edges[edge], edges[edge] + message)
        total[i] += message
    for i in range(N_NODES):
        update = layer.update(torch.cat((nodes[i], total[i] / 3.0**0.5)))
        close(new_nodes[i], layer.norm(nodes[i] + update))


def test_directions_against_a_loop(stream):
    layer = Directions(N_NODE, N_EDGE, 5, 2).double()
    nodes, edges = normal(stream, N_NODES, N_NODE), normal(stream, N_EDGES, N_EDGE)
    along, own = normal(stream, N_EDGES, 3), normal(stream, N_NODES, 2, 3)
    sender, receiver = pairs(stream)
    degree = torch.tensor(3.0, dtype=torch.float64)
    new_nodes, new_edges = layer(nodes, edges, along, own, sender, receiver, degree)

    vectors = torch.zeros(N_NODES, 5, 3, dtype=torch.float64)
    for edge in range(N_EDGES):
        share = torch.outer(layer.edge(edges[edge]), along[edge])
        vectors[receiver[edge]] += share / 3.0**0.5
    for i in range(N_NODES):
        vectors[i] += layer.node(nodes[i]).view(2, 5).T @ own[i]
        lengths = (vectors[i].square().sum(dim=1) + 1e-8).sqrt()
        inputs = torch.cat((nodes[i], lengths))
        close(new_nodes[i], nodes[i] + layer.to_node(inputs))
    for edge in range(N_EDGES):
        i, j = receiver[edge], sender[edge]
        seen = torch.cat((vectors[i] @ along[edge], vectors[j] @ along[edge]))
        close(new_edges[edge], edges[edge] + layer.to_edge(seen))


def test_with_directions_a_bead_knows_angles(stream):
    """Two neighbours on one side, or on two: same distances, another answer."""
    layer = Directions(N_NODE, N_EDGE, 5, 1).double()
    nodes, edges = normal(stream, 3, N_NODE), normal(stream, 2, N_EDGE)
    sender, receiver = torch.tensor([1, 2]), torch.tensor([0, 0])
    own = torch.zeros(3, 1, 3, dtype=torch.float64)
    degree = torch.tensor(1.0, dtype=torch.float64)
    found = []
    for side in (1.0, -1.0):
        along = torch.tensor([[1.0, 0.0, 0.0], [side, 0.0, 0.0]], dtype=torch.float64)
        found.append(layer(nodes, edges, along, own, sender, receiver, degree))
    assert (found[0][0][0] - found[1][0][0]).abs().max() > 1e-3
    assert (found[0][1] - found[1][1]).abs().max() > 1e-3


def test_vector_readout_against_a_loop(stream):
    readout = VectorReadout(N_NODE, N_EDGE, 2, 3).double()
    nodes, edges = normal(stream, N_NODES, N_NODE), normal(stream, N_EDGES, N_EDGE)
    along, own = normal(stream, N_EDGES, 2, 3), normal(stream, N_NODES, 3, 3)
    _, receiver = pairs(stream)
    degree = torch.tensor(3.0, dtype=torch.float64)
    found = readout(nodes, edges, along, own, receiver, degree)
    expected = torch.zeros(N_NODES, 3, dtype=torch.float64)
    for i in range(N_NODES):
        expected[i] = readout.node(nodes[i]) @ own[i]
    for edge in range(N_EDGES):
        share = readout.edge(edges[edge]) @ along[edge]
        expected[receiver[edge]] += share / 3.0**0.5
    close(found, expected)


def test_lengths_and_directions(stream):
    vectors = normal(stream, 6, 3)
    length, direction = length_and_direction(vectors)
    np.testing.assert_allclose(length[:, 0], vectors.norm(dim=1), atol=1e-7)
    close(length * direction, vectors)


def test_directions_are_smooth_through_zero():
    """No jump and no NaN, also not in the gradient."""
    vectors = torch.tensor([[0.0, 0.0, 0.0], [1e-6, 0.0, 0.0]], requires_grad=True)
    length, direction = length_and_direction(vectors)
    (length.sum() + direction.sum()).backward()
    assert torch.isfinite(vectors.grad).all()
    assert direction.detach()[0].eq(0.0).all()
    assert direction.detach()[1, 0] < 0.02


def test_edge_differences():
    values = torch.tensor([[1.0, 0.0, 0.0], [4.0, 1.0, 0.0]])
    sender, receiver = torch.tensor([0]), torch.tensor([1])
    expected = torch.tensor([[3.0, 1.0, 0.0]])
    assert torch.equal(edge_differences(values, sender, receiver), expected)


@pytest.mark.parametrize("shape", [(1, 1), (31, 1), (8, 4), (33, 1), (13, 5)])
def test_lanes_come_back(stream, shape):
    values = normal(stream, *shape)
    lanes = to_lanes(values)
    assert lanes.ndim == 1
    assert len(lanes) % 32 == 0
    assert torch.equal(from_lanes(lanes, values), values)


@pytest.mark.parametrize(
    "function", [torch.exp, torch.log1p, torch.sin, torch.nn.functional.softplus]
)
def test_bits_do_not_depend_on_the_place_in_the_batch(stream, function):
    values = torch.rand(100, generator=stream)
    whole = from_lanes(function(to_lanes(values)), values)
    for stop in range(1, 100):
        for part in (slice(0, stop), slice(stop, 100)):
            some = values[part]
            found = from_lanes(function(to_lanes(some)), some)
            assert torch.equal(found, whole[part])
