"""Steps of the bundled models against those of an earlier release, number by number.

tests/data/bundled_steps.npz holds what the release gave in which training and runs had
networks of their own.
"""

from pathlib import Path

import numpy as np
import pytest

from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.spec import Execution

GOLDEN = Path(__file__).parents[1] / "data" / "bundled_steps.npz"
BOX = 7.0 * np.eye(3)


def system(types: str, chain: int, masses: dict[str, float]) -> Mapping:
    """Return chains of atoms, five to a bead, and ions."""
    n, n_chain = len(types), sum(letter not in "+-" for letter in types)
    bonds = [[i, i + 1] for i in range(n_chain) if (i + 1) % chain]
    labels = [min(i, n_chain) // 5 + max(0, i - n_chain) for i in range(n)]
    graph = MolecularGraph.create(types, [masses[name] for name in types], bonds)
    return Mapping.from_labels(graph, labels)


def starts(mapping: Mapping, bond: float, width: float) -> np.ndarray:
    """Return ideal coils anywhere in a cube."""
    stream = np.random.default_rng(3)
    positions = stream.uniform(0.0, width, size=(mapping.n_beads, 3))
    for first, second in mapping.bead_bonds:
        step = stream.normal(size=3)
        positions[second] = positions[first] + bond * step / np.linalg.norm(step)
    return positions


def frames(name: str) -> np.ndarray:
    """Return some steps of a bundled model, (n_frames, n_beads, 3) nm."""
    model = load_model(name)
    spec = model.spec
    box = BOX if spec.periodic else None
    types, chain = ("EEEEX" * 24 + "+-" * 8, 60) if spec.periodic else ("ACDB" * 15, 60)
    mapping = system(types, chain, spec.particle_types)
    propagator = Propagator(
        model,
        mapping,
        seed=1,
        box=box,
        guard="record",
        execution=Execution(compiled=False),
        unseen="allow",  # chains of 12 beads, which it has not seen
    )
    start = starts(mapping, spec.statistics.length_scale, 7.0 if spec.periodic else 0.0)
    state, found = propagator.start(start), []
    for _ in range(4):
        state = propagator.step(state)
        found.append(state.positions.numpy())
    return np.stack(found)


@pytest.mark.parametrize("name", ["copolymer-chain", "polymer-electrolyte"])
def test_steps_of_the_bundled_models(name):
    """To 1e-5 nm of beads that move 0.3 and 1.5 nm in a step."""
    expected = np.load(GOLDEN)[name]
    np.testing.assert_allclose(frames(name), expected, atol=1e-5, rtol=1e-6)
