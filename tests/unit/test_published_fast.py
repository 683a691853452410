"""The fast evaluation of the published networks against their equations."""

from typing import Any

import pytest
import torch
from graphwm_files import CHAIN, MELT, OPTIONS, random_weights

import cgml.published.fast
from cgml.published.fast import evaluator
from cgml.published.model import PublishedModel, build_model
from cgml.published.networks import PublishedEdges
from cgml.published.spec import Checkpoint, HyperParameters
from cgml.spec import FAST, Execution

PLAIN, COARSE = Execution(plain=True), Execution(precision="bfloat16")
WIDE = {"latent_dim": 32, "units": 48, "layers": 2, "mp_steps": 4}
N_NODES, N_EDGES = 60, 900


def model(parameters: dict[str, Any]) -> PublishedModel:
    weights = random_weights(parameters)
    hyper = HyperParameters.model_validate(parameters)
    return build_model(Checkpoint(hyper, weights), 0.1)


def edges(n_nodes: int = N_NODES, n_edges: int = N_EDGES) -> PublishedEdges:
    """Random pairs; the first and the last node receive nothing, one very much."""
    stream = torch.Generator().manual_seed(1)
    receiver = torch.randint(1, n_nodes - 1, (n_edges,), generator=stream)
    receiver[: n_edges // 3] = n_nodes // 2
    return PublishedEdges(
        torch.randint(0, n_nodes, (n_edges,), generator=stream),
        receiver.sort().values,
        4.0 * torch.randn(n_edges, 3, generator=stream),
        torch.randint(0, 2, (n_edges,), generator=stream),
    )


def node_inputs(part: Any, n_nodes: int = N_NODES) -> torch.Tensor:
    width = part.network.encode_nodes.first.in_features
    return torch.randn(n_nodes, width, generator=torch.Generator().manual_seed(2))


def outputs(part: Any, execution: Execution) -> tuple[torch.Tensor, torch.Tensor]:
    network = evaluator(part, execution)
    return network.evaluate(network.encode(node_inputs(part)), edges())


@pytest.fixture(params=[None, 100, 7], ids=["one block", "blocks", "tiny blocks"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param is not None:
        monkeypatch.setattr(cgml.published.fast, "BLOCK", request.param)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.usefixtures("block")
def test_fast_is_the_equations(name):
    networks = model(OPTIONS[name])
    for part in filter(None, (networks.dynamics, networks.score)):
        for found, expected in zip(
            outputs(part, FAST), outputs(part, PLAIN), strict=True
        ):
            scale = float(expected.abs().max())
            assert float((found - expected).abs().max()) < 2e-5 * scale


def test_plain_is_the_whole_network():
    networks = model(MELT)
    masses, pairs = torch.ones(N_NODES, 1), edges()
    nodes = node_inputs(networks.score)[:, :-1]
    whole = networks.score(pairs, nodes, masses)
    plain = evaluator(networks.score, PLAIN)
    inputs = networks.score.node_inputs(nodes, masses)
    assert torch.equal(plain.evaluate(plain.encode(inputs), pairs)[1], whole)


def test_bfloat16_is_near_and_keeps_float32_latents():
    """Rounding of 2^-9 at every product; after four rounds a few hundredths."""
    sizes = {f"{part}_gn_hparams": WIDE for part in ("dynamics", "score")}
    part = model(MELT | sizes).score
    found, exact = outputs(part, COARSE), outputs(part, PLAIN)
    for one, other in zip(found, exact, strict=True):
        error = (one - other).square().mean().sqrt() / other.square().mean().sqrt()
        assert 1e-4 < float(error) < 3e-2
    assert found[0].dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_blocks_do_not_change_a_bit(precision, monkeypatch):
    sizes = {f"{part}_gn_hparams": WIDE for part in ("dynamics", "score")}
    part = model(MELT | sizes).score
    execution = Execution(precision=precision)
    whole = outputs(part, execution)
    monkeypatch.setattr(cgml.published.fast, "BLOCK", 100)
    for one, other in zip(outputs(part, execution), whole, strict=True):
        assert torch.equal(one, other)


def test_encoded_nodes_serve_again():
    """Nothing that is kept between evaluations is written over."""
    part = model(CHAIN).dynamics
    network = evaluator(part, FAST)
    nodes = network.encode(node_inputs(part))
    first = network.evaluate(nodes, edges())[1]
    network.evaluate(nodes, edges(n_edges=300))
    assert torch.equal(network.evaluate(nodes, edges())[1], first)
