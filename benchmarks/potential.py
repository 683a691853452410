"""Does Langevin dynamics on a potential give what reference MD has?

python benchmarks/potential.py with-potential.pt chain_devtest.npz --steps 2000
python benchmarks/potential.py with-potential.pt boxes/*.npz --replicas 2 --steps 300

BAOAB on all systems at once, with the masses that make all modes of the ideal chain
equally fast: a whole chain relaxes in some 20 steps, where it takes thousands with
those of the beads, and the averages are the same. Chains: mean squared radius of
gyration (of beads) and bond lengths; boxes: g(r) of beads of different molecules. And
the drift of NVE, with the masses of the beads.
"""

import argparse
from pathlib import Path

import numpy as np

from cgml import load_model, units
from cgml.dynamics.potential import Potential
from cgml.molecules.centres import squared_radius_of_gyration
from cgml.molecules.frames import near_origin
from cgml.molecules.ideal_chain import laplacian
from cgml.molecules.recipe import Recipe
from cgml.training.preparation import read_prepared

BINS = 25
STEP, FRICTION = 0.15, 0.7  # in the metric of the ideal chain, whose springs are 1


def langevin(potential, places, roots, moves, seed=0):
    """Yield positions and energy; BAOAB (Leimkuhler and Matthews 2013), units of cgml.

    Roots are matrices L of the systems with L L^T the inverse of their masses. Moves
    are the time step, friction, thermal energy, number of steps, and how many are
    between two that are yielded.
    """
    step, friction, thermal, n_steps, every = moves
    stream = np.random.default_rng(seed)
    ends = np.cumsum([len(root) for root in roots])[:-1]

    def along(values, *, inverse=False):
        parts = zip(roots, np.split(values, ends), strict=True)
        return np.concatenate([(r.T if inverse else r) @ part for r, part in parts])

    speeds = np.sqrt(thermal) * stream.normal(size=places.shape)  # of y, x = L y
    kept = np.exp(-friction * step)
    thrown = np.sqrt((1.0 - kept**2) * thermal)
    found = potential(places)
    for number in range(1, n_steps + 1):
        speeds = speeds + 0.5 * step * along(found.forces, inverse=True)
        places = places + along(0.5 * step * speeds)
        speeds = kept * speeds + thrown * stream.normal(size=places.shape)
        places = places + along(0.5 * step * speeds)
        found = potential(places)
        speeds = speeds + 0.5 * step * along(found.forces, inverse=True)
        if number % every == 0:
            total = found.energy.sum() + 0.5 * (speeds**2).sum()
            yield places, total


def rouse_root(item, spec, thermal):
    """Root of the inverse masses that make the modes of the ideal chain as fast.

    In boxes, where beads are held by their neighbours, all of them move alike.
    """
    mapping = item.mapping
    matrix = laplacian(mapping.n_beads, mapping.bead_bonds).toarray()
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-9 if item.box is None else 10.0)
    spread = spec.statistics.length_scale / np.sqrt(3.0 * thermal * values)
    if item.box is None:
        spread[0] = 0.0  # the centre stays
    return vectors * spread


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
        found, reference = (
            g(item, x)[1][2:] for x in (mine, own[:: max(1, len(own) // 250)])
        )
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
    parser.add_argument("--steps", type=int, default=2000)
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
    step = 0.075 * np.sqrt(masses.min() / spec.potential.bond_stiffness)
    print(f"{len(mappings)} systems, {given.steps} steps")
    roots = [np.diag(item.bead_masses**-0.5) for item in mappings]
    moves = (step, 0.0, thermal, 400, 10)
    energies = [e for _, e in langevin(potential, places, roots, moves)]
    slope = np.polyfit(10.0 * step * np.arange(len(energies)), energies, 1)[0]
    freedom = 3 * len(masses) * thermal
    print(
        f"NVE for {400 * step:.1f} ps: drift {slope / freedom:+.1e} kT per degree of "
        f"freedom and ps, rms {np.std(energies) / freedom:.1e} kT",
        flush=True,
    )
    roots = [rouse_root(item, spec, thermal) for item in every_item]
    moves = (STEP, FRICTION, thermal, given.steps, max(1, given.steps // 200))
    kept = np.array([x for x, _ in langevin(potential, places, roots, moves)])
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
