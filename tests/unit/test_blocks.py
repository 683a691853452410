import numpy as np
import pytest
import torch

from cgml.contract.lanes import from_lanes, to_lanes
from cgml.contract.stepper import Pairs
from cgml.network.blocks import (
    MLP,
    Interaction,
    RadialBasis,
    ScalarReadout,
    VectorReadout,
)
from cgml.network.directions import Directions
from cgml.network.leaves import (
    differences,
    length_and_direction,
    lengths_and_directions,
    multiply,
    multiply_onto,
    pack,
)
from cgml.network.leaves import (
    silu as quick_silu,
)
from cgml.network.pairs import Layout, lay_out
from cgml.network.sums import add_ends, at_ends, sum_arrivals

N_NODES, N_PAIRS, N_NODE, N_EDGE = 5, 11, 6, 4
DEGREE = torch.tensor(3.0, dtype=torch.float64)
GRADIENT = pytest.mark.parametrize("gradient", [True, False])


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


def layout_of(stream: torch.Generator, n_nodes: int = N_NODES) -> Layout:
    """Random pairs, some of them twice or of a node with itself."""
    ends = torch.randint(n_nodes, (2, N_PAIRS), generator=stream).sort(dim=0).values
    receiver, sender = ends[:, torch.argsort(ends[0] * n_nodes + ends[1])]
    nothing = torch.zeros(N_PAIRS, 3)
    pairs = Pairs(sender, receiver, torch.zeros(N_PAIRS, 6), nothing)
    return lay_out(pairs, n_nodes, is_periodic=False)


def edges_of(layout: Layout) -> list[tuple[int, int, int, int]]:
    """Row, receiver, sender and row of the pair of each edge that counts."""
    n, found = len(layout.receiver), []
    for row in sorted(layout.arrivals.tolist()):
        ends = int(layout.receiver[row % n]), int(layout.sender[row % n])
        receiver, sender = ends if row < n else ends[::-1]
        found.append((row, receiver, sender, row % n))
    return found


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
    distances = torch.tensor([0.0, 0.3, 1.0, 14.0, 200.0])
    found = basis(distances)
    centres = np.array([[0.0], [0.9], [1.8], [2.7]])
    steps = (np.log(1.0 + distances.numpy()) - centres) / 0.9
    assert found.shape == (4, 5)
    np.testing.assert_allclose(found, np.exp(-0.5 * steps**2), atol=1e-6)


@GRADIENT
def test_interaction_against_a_loop(stream, gradient):
    """The split first layer and the late second one are the unsplit message."""
    layer, layout = Interaction(N_NODE, N_EDGE).double(), layout_of(stream)
    n = len(layout.receiver)
    nodes, edges = normal(stream, N_NODES, N_NODE), normal(stream, 2 * n, N_EDGE)
    with torch.set_grad_enabled(gradient):
        packed = layer.pack(DEGREE, None)
        new_nodes, new_edges = layer(packed, nodes, edges.clone(), layout)

    weight = torch.cat(
        (layer.edge.weight, layer.receiver.weight, layer.sender.weight), 1
    )
    total = torch.zeros(N_NODES, N_EDGE, dtype=torch.float64)
    for edge, i, j, _ in edges_of(layout):
        inputs = torch.cat((edges[edge], nodes[i], nodes[j]))
        message = torch.nn.functional.silu(weight @ inputs + layer.edge.bias)
        close(new_edges[edge], edges[edge] + message)
        total[i] += message
    for i in range(N_NODES):
        update = layer.update(torch.cat((nodes[i], total[i] / 3.0**0.5)))
        close(new_nodes[i], layer.norm(nodes[i] + update))


@GRADIENT
@pytest.mark.parametrize("chiral", [False, True])
def test_directions_against_a_loop(stream, gradient, chiral):
    layer = Directions(N_NODE, N_EDGE, 4, 2, chiral=chiral).double()
    layout = layout_of(stream)
    static = torch.rand(layout.static.shape, generator=stream)
    layout = layout._replace(static=static.double())
    n = len(layout.receiver)
    nodes, edges = normal(stream, N_NODES, N_NODE), normal(stream, 2 * n, N_EDGE)
    along, own = normal(stream, 3, n), normal(stream, N_NODES, 2, 3)
    with torch.set_grad_enabled(gradient):
        packed = layer.pack(DEGREE, None)
        found = layer(packed, nodes, edges.clone(), along, own, layout)
    new_nodes, new_edges, crosses = found

    def axis(edge: int, pair: int) -> torch.Tensor:
        return along[:, pair] if edge < n else -along[:, pair]

    vectors = torch.zeros(N_NODES, 4, 3, dtype=torch.float64)
    for edge, i, _, pair in edges_of(layout):
        vectors[i] += torch.outer(layer.edge(edges[edge]), axis(edge, pair)) / 3.0**0.5
        if chiral:  # bonds, and what is near along them, in turn
            near = layout.static[pair, [0, 2, 0, 2]]
            vectors[i] += torch.outer(near, axis(edge, pair))
    for i in range(N_NODES):
        vectors[i] += layer.node(nodes[i]).view(2, 4).T @ own[i]
        lengths = (vectors[i].square().sum(dim=1) + 1e-8).sqrt()
        inputs = [nodes[i], lengths]
        if chiral:
            vectors[i] /= 0.1 + lengths[:, None]
            near = vectors[i]
            close(crosses[i], torch.linalg.cross(near, near[range(-1, 3)]))
            three = [torch.stack((near[k], near[k - 1], near[k - 2])) for k in range(4)]
            inputs.append(torch.linalg.det(torch.stack(three)))
        close(new_nodes[i], nodes[i] + layer.to_node(torch.cat(inputs)))
    assert crosses.shape == (N_NODES, 4 if chiral else 0, 3)
    for edge, i, j, pair in edges_of(layout):
        seen = [vectors[i] @ axis(edge, pair), vectors[j] @ axis(edge, pair)]
        if chiral:
            rows = axis(edge, pair).expand(4, 3), vectors[i], vectors[j]
            seen.append(torch.linalg.det(torch.stack(rows, dim=1)))
        close(new_edges[edge], edges[edge] + layer.to_edge(torch.cat(seen)))


def test_with_directions_a_bead_knows_angles(stream):
    """Two neighbours on one side, or on two: same distances, another answer."""
    layer = Directions(N_NODE, N_EDGE, 5, 1).double()
    pairs = torch.tensor([1, 2]), torch.tensor([0, 0])
    layout = lay_out(
        Pairs(*pairs, torch.zeros(2, 6), torch.zeros(2, 3)), 3, is_periodic=False
    )
    n = len(layout.receiver)
    nodes, edges = normal(stream, 3, N_NODE), normal(stream, 2 * n, N_EDGE)
    own = torch.zeros(3, 1, 3, dtype=torch.float64)
    found = []
    for side in (1.0, -1.0):
        along = torch.zeros(3, n, dtype=torch.float64)
        along[0, :2] = torch.tensor([1.0, side])
        found.append(layer(layer.pack(DEGREE, None), nodes, edges, along, own, layout))
    assert (found[0][0][0] - found[1][0][0]).abs().max() > 1e-3
    assert (found[0][1] - found[1][1])[:2].abs().max() > 1e-3


@GRADIENT
def test_vector_readout_against_a_loop(stream, gradient):
    readout, layout = VectorReadout(N_NODE, N_EDGE, 2, 3).double(), layout_of(stream)
    n = len(layout.receiver)
    nodes, edges = normal(stream, N_NODES, N_NODE), normal(stream, 2 * n, N_EDGE)
    along, own = normal(stream, 2, 3, n), normal(stream, N_NODES, 3, 3)
    with torch.set_grad_enabled(gradient):
        packed = readout.pack(DEGREE)
        found = readout(packed, nodes, edges, along, own, layout)
    expected = torch.zeros(N_NODES, 3, dtype=torch.float64)
    for i in range(N_NODES):
        expected[i] = readout.node(nodes[i]) @ own[i]
    for edge, i, _, pair in edges_of(layout):
        share = readout.edge(edges[edge]) @ along[:, :, pair]
        expected[i] += (1.0 if edge < n else -1.0) * share / 3.0**0.5
    close(found, expected)


# --- leaves


@pytest.mark.parametrize("n_rows", [1, 3, 4, 9])
@pytest.mark.parametrize("width", [1, 4, 6])
def test_products(stream, n_rows, width):
    values, weight = normal(stream, n_rows, 5), normal(stream, width, 5)
    bias, start = normal(stream, width), normal(stream, n_rows, width)
    close(multiply(pack(weight, bias), values), values @ weight.T + bias)
    close(multiply(pack(weight, None), values), values @ weight.T)
    onto = multiply_onto(pack(weight, None), start.clone(), values)
    close(onto, start + values @ weight.T)


def test_bits_of_a_product_do_not_depend_on_the_rows(stream):
    weight, values = torch.randn(6, 9, generator=stream), torch.randn(50, 9)
    product = pack(weight, torch.randn(6, generator=stream))
    every = multiply(product, values)
    for n in range(1, 50):
        assert torch.equal(multiply(product, values[:n]), every[:n])


def leaves(layout: Layout) -> list:
    """Each leaf with what takes its place edge by edge, and its rows."""
    n = len(layout.receiver)
    table = edges_of(layout)
    to = torch.zeros(N_NODES, 2 * n, dtype=torch.float64)
    back = torch.zeros(2 * n, N_NODES, dtype=torch.float64)
    for edge, i, j, _ in table:
        to[i, edge] = back[edge, j] = 1.0

    def naive_ends(values: torch.Tensor) -> torch.Tensor:
        return to.T @ values[:, :3] + back @ values[:, 3:]

    return [
        (sum_arrivals, lambda values: to @ values, 2 * n),
        (add_ends, naive_ends, N_NODES),
        (lambda v, _: torch.cat(at_ends(v, layout)), lambda v: to.T @ v, N_NODES),
    ]


@pytest.mark.parametrize("number", range(3), ids=["arrivals", "ends", "rows"])
def test_sums_and_their_gradients(stream, number):
    """Against products with matrices of zeros and ones; padded rows give nothing."""
    layout = layout_of(stream)
    leaf, naive, n_rows = leaves(layout)[number]
    real = torch.zeros(2 * len(layout.receiver), 1, dtype=torch.float64)
    real[layout.arrivals] = 1.0
    values = normal(stream, n_rows, 6).requires_grad_()
    found, expected = leaf(values, layout), naive(values)
    mask = 1.0 if number == 0 else real
    close(found * mask, expected)
    with torch.no_grad():
        close(leaf(values, layout) * mask, expected)
    weight = normal(stream, *expected.shape) * mask
    slopes = [
        torch.autograd.grad((weight * answer).sum(), values)[0]
        for answer in (found, expected)
    ]
    close(*slopes)


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


def test_vectors_of_pairs(stream):
    layout, values = layout_of(stream), normal(stream, N_NODES, 3)
    found = differences(values, layout)
    expected = values[layout.receiver] - values[layout.sender]
    close(found.T, expected)
    lengths, along = lengths_and_directions(found)
    one, other = length_and_direction(expected)
    close(lengths, one[:, 0])
    close(along.T, other)


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


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [5, 8, 48, 96])
def test_a_row_alone_has_the_bits_that_it_has_among_others(width, kind):
    """The last numbers of a batch go another way on the CPU."""
    rows = 3.0 * torch.randn(77, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for n in (1, 2, 7, 33, 77):
            together = quick_silu(rows[:n].to(kind))
            alone = [quick_silu(row.to(kind)) for row in rows[:n].split(1)]
            assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("width", [8, 32, 48])
def test_the_radius_of_a_molecule_depends_on_it_alone(width):
    """As where the molecules of a run are divided among workers."""
    stream = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        readout = ScalarReadout(width)
    rows = torch.randn(40, width, generator=stream)
    with torch.inference_mode():
        together = readout(rows)
        for n in (1, 2, 3, 7, 13):
            divided = torch.cat([readout(part) for part in rows.split(n)])
            assert torch.equal(together, divided)
