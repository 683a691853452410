"""A made-up electrolyte: walkers in a periodic box, and a trimer that moves as one."""

import numpy as np

from cgml.evaluation.subject import Run, Subject
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.units import BOLTZMANN

BOX = np.array([[3.0, 0.0, 0.0], [0.4, 3.0, 0.0], [-0.3, 0.5, 3.0]])
N_IONS, N_CHAINS = 6, 4
N_BEADS = 2 * N_IONS + 3 * N_CHAINS


def electrolyte(name: str = "box", *, is_charged: bool = True) -> Subject:
    """Six cations, six anions, four trimers; every atom is a bead."""
    bonds = [[3 * k + j, 3 * k + j + 1] for k in range(N_CHAINS) for j in range(2)]
    types = "EEE" * N_CHAINS + "+" * N_IONS + "-" * N_IONS
    masses = np.repeat([2.0, 1.0], [3 * N_CHAINS, 2 * N_IONS])
    graph = MolecularGraph.create(types, masses, bonds)
    charges = np.repeat([0.0, 1.0, -1.0], [3 * N_CHAINS, N_IONS, N_IONS])
    first = 3 * N_CHAINS
    return Subject(
        name,
        Mapping.from_labels(graph, np.arange(N_BEADS)),
        {
            "cation": np.arange(first, first + N_IONS),
            "anion": np.arange(first + N_IONS, N_BEADS),
            "polymer": np.arange(first),
        },
        BOX,
        charges if is_charged else None,
        1.0 / BOLTZMANN if is_charged else None,
    )


def walk(
    seed: int, n_frames: int = 150, time_step: float = 2.0, speed: float = 1.0
) -> Run:
    """Two runs of free walkers; D of the ions is 0.01 times speed, nm^2/ps."""
    generator = np.random.default_rng(seed)
    start = generator.random((2, 1, N_BEADS, 3)) @ BOX
    kicks = generator.normal(size=(2, n_frames, N_BEADS, 3))
    chains = 3 * N_CHAINS
    together = generator.normal(size=(2, n_frames, N_CHAINS, 3))
    kicks[:, :, :chains] = 0.5 * np.repeat(together, 3, axis=2)
    size = np.sqrt(2.0 * 0.01 * speed * time_step)
    return Run(start + size * kicks.cumsum(axis=1), time_step)
