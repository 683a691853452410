"""The graph network of the published checkpoints against its equations."""

from typing import Any

import numpy as np
import pytest
import torch
from graphwm_files import MELT, OPTIONS, random_weights
from reference_published import Reference

from cgml.published.blocks import PublishedEdges, fit_to_machine
from cgml.published.checkpoint import Checkpoint, build_model
from cgml.published.model import PublishedModel
from cgml.published.spec import HyperParameters

WIDE = {"latent_dim": 32, "units": 48, "layers": 2, "mp_steps": 4}
N_NODES, N_EDGES = 60, 900


def model(parameters: dict[str, Any]) -> PublishedModel:
    weights = random_weights(parameters)
    hyper = HyperParameters.model_validate(parameters)
    return build_model(Checkpoint(hyper, weights, 6), 0.1)


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


def outputs(part: Any, block: int = 1 << 40) -> tuple[torch.Tensor, torch.Tensor]:
    network, pairs = part.network, edges()
    network.block = block
    nodes = network.encode_nodes(node_inputs(part))
    return network.among_beads(nodes, pairs, part.cutoff, part.kinds.weight)


def expected(parameters: dict[str, Any], name: str) -> tuple[torch.Tensor, ...]:
    """The same from the reference: last latent and outputs."""
    reference = Reference(parameters, random_weights(parameters))
    kinds = reference.weights["edge_type_embedding.weight"]
    part = getattr(model(parameters), name)
    pairs = zip(*(column.tolist() for column in edges()), strict=True)
    rows = []
    for sender, receiver, vector, kind in pairs:
        scaled = np.array(vector) / parameters["radius"]
        row = (scaled, [np.linalg.norm(scaled)], kinds[kind])
        rows.append((sender, receiver, np.concatenate(row)))
    inputs = node_inputs(part).double().numpy()
    found = reference.network(f"{name}_gn", inputs, rows)
    return tuple(torch.tensor(values) for values in found)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_is_the_equations(name):
    networks = model(OPTIONS[name])
    for kind in ("dynamics", "score"):
        part = getattr(networks, kind)
        if part is None:
            continue
        reference = expected(OPTIONS[name], kind)
        for block in (1 << 40, 100, 7):  # one block, blocks, tiny blocks
            for found, other in zip(outputs(part, block), reference, strict=True):
                scale = float(other.abs().max())
                assert float((found - other).abs().max()) < 2e-5 * scale


def test_bfloat16_is_near_and_keeps_float32_latents():
    """Rounding of 2^-9 at every product; after four rounds a few hundredths."""
    sizes = {f"{part}_gn_hparams": WIDE for part in ("dynamics", "score")}
    part = model(MELT | sizes).score
    coarse = fit_to_machine(part, "bfloat16")
    found = outputs(coarse)
    for one, other in zip(found, outputs(part), strict=True):
        error = (one - other).square().mean().sqrt() / other.square().mean().sqrt()
        assert 1e-4 < float(error) < 3e-2
    assert found[0].dtype == torch.float32
    assert fit_to_machine(part, "float32") is part
    kept = [p.dtype for p in coarse.network.encode_edges.first.parameters()]
    assert kept == [torch.float32] * 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_blocks_do_not_change_a_bit(precision):
    sizes = {f"{part}_gn_hparams": WIDE for part in ("dynamics", "score")}
    part = fit_to_machine(model(MELT | sizes).score, precision)
    for one, other in zip(outputs(part, 100), outputs(part), strict=True):
        assert torch.equal(one, other)


def test_encoded_nodes_serve_again():
    """Nothing that is kept between evaluations is written over."""
    part = model(MELT).score
    nodes = part.network.encode_nodes(node_inputs(part))
    first = part.evaluate(nodes, edges())
    part.evaluate(nodes, edges(n_edges=300))
    assert torch.equal(part.evaluate(nodes, edges()), first)


def test_atoms_may_have_no_bonds():
    networks = model(MELT)
    none = torch.zeros(0, dtype=torch.int64)
    nodes = node_inputs(networks.embedding, 3)
    width = networks.embedding.network.encode_edges.first.in_features
    found = networks.embedding.network(nodes, torch.zeros(0, width), none, none)
    reference = Reference(MELT, random_weights(MELT))
    other = reference.network("embedding_gn", nodes.double().numpy(), [])[1]
    np.testing.assert_allclose(found, other, atol=2e-5 * np.abs(other).max())
