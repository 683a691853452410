"""6. Simulate reference MD of a polymer electrolyte: chains and salt in a periodic box.

    python examples/6_simulate_electrolyte.py [--boxes N] [--kind I] [--output FOLDER]

Chains of solvating (E) and inert (X) monomers, cations and anions, in reduced
Lennard-Jones units (1 nm, 1 ps, 1 kJ/mol). Writes electrolyte/box_000.npz and so on,
one per sequence; after a kill, the same command goes on with the box that was under
way. The default is one small box; --full has the size and times of training data.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from cgml.formats.trajectory import read_reference
from cgml.progress import progress
from openmm_cgml.testsystems import electrolyte_sequence
from openmm_cgml.testsystems.electrolyte_protocol import ElectrolyteProtocol
from openmm_cgml.testsystems.electrolyte_runs import simulate_boxes


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("electrolyte"))
    parser.add_argument("--boxes", type=int, default=1, help="a sequence each")
    parser.add_argument("--kind", choices=["I", "II"], default="I", help="of sequence")
    parser.add_argument("--full", action="store_true", help="24 chains, 500 ps kept")
    parser.add_argument("--time", type=float, help="ps kept, other than these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    stream = np.random.default_rng(options.seed)
    sequences = [
        electrolyte_sequence(20, options.kind, stream) for _ in range(options.boxes)
    ]
    n_molecules = 24 if options.full else 8  # chains, cations, anions
    kept = options.time or (500.0 if options.full else 40.0)  # ps
    protocol = ElectrolyteProtocol(
        n_frames=round(kept / 2.0),
        interval=2.0,
        pressing=250.0 if options.full else 20.0,
        equilibration=400.0 if options.full else 20.0,
        seed=options.seed,
        n_threads=options.threads,
    )
    time = round(len(sequences) * protocol.time)  # ps
    with progress(Console(stderr=True), "simulated ps", time, 1.0) as show:
        paths = simulate_boxes(
            sequences,
            options.output,
            protocol,
            n_chains=n_molecules,
            n_ion_pairs=n_molecules,
            report=lambda done: show(round(done)),
        )
    for path in paths:
        with np.load(path) as content:
            sequence, density = content["seq"], content["rho"]
        (beads,) = read_reference(path)  # of five monomers; ions are beads
        lightest = beads.mapping.bead_masses == 1.0  # the ions
        moved = beads.positions[-1, lightest] - beads.positions[0, lightest]
        distance = np.sqrt(np.square(moved).sum(axis=1).mean())
        print(
            f"{path}: {sequence}, {density:.2f} particles per nm^3, "
            f"{beads.mapping.n_beads} beads; in {beads.times[-1]:g} ps ions moved "
            f"{distance:.2f} nm"
        )


if __name__ == "__main__":
    main(parse_options())
