"""Does stock Langevin dynamics on a potential give what reference MD has?

python benchmarks/potential.py with-potential.pt chain_devtest.npz --time 600
python benchmarks/potential.py with-potential.pt boxes/*.npz --time 50

BAOAB on all systems at once. Chains: mean squared radius of gyration (of beads) and
bond lengths; boxes: g(r) of beads of different molecules. And the drift of NVE.
"""

import argparse
from pathlib import Path

import numpy as np

from cgml import load_model, units
from cgml.dynamics.potential import Potential
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.frames import near_origin
from cgml.molecules.recipe import Recipe
from cgml.training.preparation import read_prepared

BINS = 60


def langevin(potential, places, masses, moves, seed=0):
    """Yield positions and energy; BAOAB (Leimkuhler and Matthews 2013), units of cgml.

    Moves are the time step, friction, thermal energy, number of steps, and how many
    are between two that are yielded.
    """
    step, friction, thermal, n_steps, every = moves
    stream = np.random.default_rng(seed)
    masses = masses[:, None]
    speeds = np.sqrt(thermal / masses) * stream.normal(size=places.shape)
    kept = np.exp(-friction * step)
    thrown = np.sqrt((1.0 - kept**2) * thermal / masses)
    found = potential(places)
    for number in range(1, n_steps + 1):
        speeds += 0.5 * step * found.forces / masses
        places = places + 0.5 * step * speeds
        speeds = kept * speeds + thrown * stream.normal(size=places.shape)
        places = places + 0.5 * step * speeds
        found = potential(places)
        speeds += 0.5 * step * found.forces / masses
        if number % every == 0:
            total = found.energy.sum() + 0.5 * (masses * speeds**2).sum()
            yield places, total


def distances(system, frames):
    """Distances of beads of different molecules, nearest images, nm."""
    mapping = system.mapping
    one, other = np.triu_indices(mapping.n_beads, 1)
    apart = mapping.molecule_index[one] != mapping.molecule_index[other]
    one, other = one[apart], other[apart]
    inverse = np.linalg.inv(system.box)
    for frame in frames:
        gaps = frame[one] - frame[other]
        gaps -= np.round(gaps @ inverse) @ system.box
        yield np.linalg.norm(gaps, axis=1)


def g(system, frames):
    """Radial distribution function up to 60 % of half the box, and its distances."""
    reach = 0.3 * np.diag(system.box).min()
    edges = np.linspace(0.0, reach, BINS + 1)
    counts = sum(np.histogram(d, edges)[0] for d in distances(system, frames))
    shells = np.diff(edges**3)
    density = counts / shells / len(frames)
    index = system.mapping.molecule_index
    pairs = 0.5 * (len(index) ** 2 - (np.bincount(index) ** 2).sum())
    volume = abs(np.linalg.det(system.box)) / (4.0 / 3.0 * np.pi)
    return 0.5 * (edges[1:] + edges[:-1]), density * volume / pairs


def bonds(mapping, frames):
    ends = mapping.bead_bonds
    return np.linalg.norm(frames[:, ends[:, 0]] - frames[:, ends[:, 1]], axis=-1)


def compare(item, own, runs):
    """Say how a system of (n_frames, n_replicas, n_beads, 3) differs; its errors."""
    mapping, text, errors = item.mapping, item.name, []
    n_replicas, mine = runs.shape[1], runs.reshape(-1, *runs.shape[2:])
    a, b = bonds(mapping, mine), bonds(mapping, own)
    text += f"  bonds {a.mean():.3f} ({b.mean():.3f}) nm"
    errors.append(a.mean() / b.mean() - 1.0)
    if item.box is None:
        a, b = (squared_radius_of_gyration(x, mapping.bead_masses) for x in (mine, own))
        by_run = a.reshape(-1, n_replicas).mean(axis=0)
        parts = np.array([part.mean() for part in np.array_split(b, 8)])
        text += (
            f"  Rg^2 {a.mean():.3f} +- {by_run.std() / np.sqrt(n_replicas - 1):.3f}"
            f" ({b.mean():.3f} +- {parts.std() / np.sqrt(7):.3f}) nm^2"
        )
        errors.append(a.mean() / b.mean() - 1.0)
    else:
        found, reference = (g(item, x)[1][3:] for x in (mine, own[:: len(own) // 60]))
        worst, peak = np.abs(found - reference).max(), reference.max()
        text += f"  g(r): peak {peak:.2f}, largest difference {worst:.3f}"
        errors.append(worst / peak)
    print(text, flush=True)
    return errors


def starts(frames, n):
    """Frames to start from, those of each system one after the other."""
    return np.concatenate([own[len(own) * k // n] for own in frames for k in range(n)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("reference", type=Path, nargs="+")
    parser.add_argument("--time", type=float, default=600.0, help="ps of each path")
    parser.add_argument("--replicas", type=int, default=4, help="2 or more")
    parser.add_argument("--systems", type=int, default=10)
    given = parser.parse_args()
    model, n = load_model(given.model), given.replicas
    spec = model.spec
    systems = read_prepared(given.reference, Recipe.from_spec(spec))[: given.systems]
    thermal = units.thermal_energy(spec.temperature)
    every_item = [item for item in systems for _ in range(n)]
    mappings = [item.mapping for item in every_item]
    box = np.stack([item.box for item in every_item]) if spec.periodic else None
    potential = Potential(model, mappings, box=box, unseen="allow")
    masses = np.concatenate([item.bead_masses for item in mappings])
    frames = [near_origin(item) for item in systems]
    places = starts(frames, n)
    step = 0.3 * np.sqrt(masses.min() / spec.potential.bond_stiffness)
    n_steps = int(given.time / step)
    print(f"{len(mappings)} systems, {n_steps} steps of {step:.4f} ps")
    moves = (0.25 * step, 0.0, thermal, 400, 10)
    energies = [energy for _, energy in langevin(potential, places, masses, moves)]
    slope = np.polyfit(2.5 * step * np.arange(len(energies)), energies, 1)[0]
    freedom = 3 * len(masses) * thermal
    print(
        f"NVE for {100 * step:.1f} ps: drift {slope / freedom:+.1e} kT per degree of "
        f"freedom and ps, rms {np.std(energies) / freedom:.1e} kT",
        flush=True,
    )
    moves = (step, 0.1 / step, thermal, n_steps, max(1, n_steps // 200))
    kept = np.array([x for x, _ in langevin(potential, places, masses, moves)])
    kept, begin, errors = kept[len(kept) // 4 :], 0, []
    for item, own in zip(systems, frames, strict=True):
        end = begin + n * item.mapping.n_beads
        runs = kept[:, begin:end].reshape(len(kept), n, item.mapping.n_beads, 3)
        begin = end
        errors.append(compare(item, own, runs))
    for name, column in zip(
        ("bonds", "Rg^2 or g(r)"), np.transpose(errors), strict=True
    ):
        print(
            f"{name}: mean error {column.mean():+.4f}, mean |error| "
            f"{np.abs(column).mean():.4f}, largest {np.abs(column).max():.4f}"
        )


if __name__ == "__main__":
    main()
