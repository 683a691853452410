"""A small chain with handed atoms, its force field and its MD, for back-mapping."""

from functools import cache

import numpy as np
import openmm

from cgml.molecules.collecting import Collector
from cgml.molecules.fragments import Fragments
from cgml.molecules.frames import Trajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping

TEMPERATURE = 300.0
MASSES = {"C": 12.011, "F": 18.998, "H": 1.008, "Cl": 35.45}
LENGTHS = {"CC": 0.153, "CF": 0.136, "CH": 0.109, "CCl": 0.178}


def chain(n_units: int, hand: int = 1) -> tuple[Mapping, openmm.System, np.ndarray]:
    """Cl-(CHF)n-Cl in a zigzag, all units of one hand; two units are a bead."""
    types, places = ["Cl"], [np.array([-0.13, 0.065, 0.0])]
    bonds = [(0, 1)]
    for unit in range(n_units):
        side = 1 - 2 * (unit % 2)
        centre = np.array([0.125 * unit, -0.045 * side, 0.0])
        atom = len(types)
        types += ["C", "F", "H"]
        out = np.array([0.0, -0.07 * side, 0.09 * side * hand])
        places += [centre, centre + out, centre + out * [1, 1, -1]]
        bonds += [(atom, atom + 1), (atom, atom + 2), (atom, atom + 3)]
    bonds[-1] = (len(types) - 3, len(types))
    types.append("Cl")
    places.append(places[-3] + [0.13, 0.11 * side, 0.0])
    masses = [MASSES[name] for name in types]
    graph = MolecularGraph.create(types, masses, bonds)
    units = np.concatenate(([0], np.repeat(np.arange(n_units), 3), [n_units - 1]))
    return Mapping.from_labels(graph, units // 2), _system(graph), np.array(places)


def two_chains(n_units: int) -> tuple[Mapping, openmm.System, np.ndarray]:
    """Two such chains, 1 nm apart."""
    one, _, start = chain(n_units)
    graph = MolecularGraph.create(
        2 * one.graph.types,
        np.tile(one.graph.masses, 2),
        np.concatenate((one.graph.bonds, one.graph.bonds + one.graph.n_atoms)),
    )
    beads = np.concatenate((one.bead_index, one.bead_index + one.n_beads))
    places = np.concatenate((start, start + np.array([0.0, 1.0, 0.0])))
    return Mapping.from_labels(graph, beads), _system(graph), places


def _system(graph: MolecularGraph) -> openmm.System:
    system = openmm.System()
    for mass in graph.masses:
        system.addParticle(mass)
    stretch, bend = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    near: dict[int, list[int]] = {}
    for i, j in graph.bonds.tolist():
        name = "".join(sorted((graph.types[i], graph.types[j])))
        stretch.addBond(i, j, LENGTHS[name], 250000.0)
        near.setdefault(i, []).append(j)
        near.setdefault(j, []).append(i)
    for j, found in near.items():
        for n, i in enumerate(found):
            for k in found[n + 1 :]:
                bend.addAngle(i, j, k, 1.91, 400.0)
    pairs = openmm.NonbondedForce()
    for _ in graph.types:
        pairs.addParticle(0.0, 0.25, 0.2)
    pairs.createExceptionsFromBonds(graph.bonds.tolist(), 0.5, 0.5)
    for force in (stretch, bend, pairs):
        system.addForce(force)
    return system


@cache
def md(n_units: int = 8, hand: int = 1, n_frames: int = 40) -> Trajectory:
    """Frames of the chain, 0.2 ps apart."""
    mapping, system, places = chain(n_units, hand)
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 5.0, 0.001)
    integrator.setRandomNumberSeed(3)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(places)
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    frames = []
    for _ in range(n_frames):
        integrator.step(100)
        state = context.getState(positions=True)
        frames.append(state.getPositions(asNumpy=True)._value)
    times = 0.1 * np.arange(n_frames)
    positions = np.array(frames, dtype=np.float32)
    return Trajectory(mapping.graph, positions, times, name=f"chain{n_units}")


@cache
def library(hand: int = 1) -> Fragments:
    """Fragments of chains of eight units."""
    collector = Collector(24)
    list(collector.watch([md(8, hand)], chain(8)[0]))
    return collector.fragments()
