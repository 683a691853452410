"""1. Simulate reference MD of copolymer chains, to train a model on.

    python examples/1_simulate_reference_md.py [CHAINS] [FRAMES] [ATOMS]

Chains of repeated motifs in implicit solvent, in reduced Lennard-Jones units (1 nm,
1 ps, 1 kJ/mol), all in one System. Writes reference.npz, which example 2 reads. Real
training data: 100 chains of 100 atoms, 400 frames.
"""

import sys
import time

import numpy as np

from openmm_cgml.testsystems import packed_chains, random_sequence
from openmm_cgml.testsystems.chain_runs import TIME_STEP, Protocol, simulate


def main(n_chains: int = 8, n_frames: int = 20, n_atoms: int = 50) -> None:
    generator = np.random.default_rng(1)
    sequences = [random_sequence(n_atoms, "I", generator) for _ in range(n_chains)]
    chains = packed_chains(sequences, generator=generator)
    # a model of real use needs 1,500 ps of equilibration
    protocol = Protocol(n_frames=n_frames, interval=1.0, equilibration=20.0, seed=1)

    began = time.perf_counter()
    frames = simulate(chains, protocol)
    frames.write("reference.npz")
    seconds = time.perf_counter() - began

    length = protocol.equilibration + n_frames * protocol.interval  # ps
    print(f"{length / TIME_STEP:.0f} MD steps of {n_chains} chains in {seconds:.1f} s")
    for sequence, rg2 in zip(sequences, frames.squared_radius_of_gyration, strict=True):
        print(f"{sequence[:40]:40s}  mean squared radius {rg2.mean():6.1f} nm^2")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
