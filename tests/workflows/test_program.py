"""The program in a model file, where torch is and cgml is not."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec
from graphwm_files import CHAIN, MELT, hyper_parameters, random_weights, write
from torch.utils.cpp_extension import include_paths, library_paths
from workflow_tools import ROOT

from cgml.dynamics.propagator import Propagator
from cgml.models.conversion import Origin, import_checkpoint
from cgml.models.file import bundled_models, load_model, save_model
from cgml.molecules.graph import MolecularGraph, bond_type_index, type_index
from cgml.molecules.mapping import Mapping
from cgml.network.program import OwnProgram
from cgml.published.program import PublishedProgram

BOX = np.array([[9.0, 0.0, 0.0], [2.0, 8.5, 0.0], [-1.5, 2.5, 8.0]])
N_STEPS = 4  # TorchScript changes its mind about fusing after two calls
CLOSE = 1e-5  # nm

ALONE = """
import json, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("cgml", "openmm_cgml", "ase_cgml", "vesin_torch"):
            raise ImportError(name)

sys.meta_path.insert(0, Without())
import torch

for path, inputs in zip(sys.argv[1::2], sys.argv[2::2]):
    program = torch.jit.load(path)
    case = torch.load(inputs)
    system = program.embed(*case["system"])
    worst = 0.0
    for arguments, expected in case["steps"]:
        positions, displacements = program.step(system, *arguments)
        for found, value in zip((positions, displacements), expected):
            assert found.shape == value.shape and found.dtype == torch.float64
            if value.numel():
                worst = max(worst, float((found - value).abs().max()))
    sizes = program.time_step, program.cutoff, program.n_draws
    print(json.dumps([worst, *sizes, program.particle_types]))
"""


CELLS = np.array(np.meshgrid(*[range(-2, 3)] * 3)).reshape(3, -1).T


def pairs(
    mapping: Mapping,
    positions: np.ndarray,
    box: np.ndarray | None,
    reach: float,
    *,
    is_published: bool,
) -> tuple[torch.Tensor, ...]:
    """Return senders, receivers and shifts as the documents say, one by one."""
    found = []
    bonds = {
        (i, j) for a, b in mapping.bead_bonds.tolist() for i, j in ((a, b), (b, a))
    }
    for sender, receiver in np.ndindex(mapping.n_beads, mapping.n_beads):
        gap = positions[receiver] - positions[sender]
        shifts = np.zeros((1, 3))
        if box is not None:
            shifts = (CELLS - np.round(gap @ np.linalg.inv(box))) @ box
        lengths = np.linalg.norm(gap + shifts, axis=1)
        if is_published:
            shifts, lengths = shifts[[lengths.argmin()]], lengths[[lengths.argmin()]]
        is_bond = (sender, receiver) in bonds
        is_kept = (lengths < reach) | (is_bond & ~shifts.any(axis=1))
        is_kept &= shifts.any(axis=1) | (sender != receiver)
        found += [(sender, receiver, shift) for shift in shifts[is_kept]]
    senders, receivers, shifts = zip(*found, strict=True)
    order = np.random.default_rng(0).permutation(len(found))  # any will do
    own = mapping.molecule_index
    if reach == np.inf:  # without a cutoff, molecules do not see each other
        order = order[own[np.array(senders)[order]] == own[np.array(receivers)[order]]]
    columns = (np.array(senders), np.array(receivers), np.stack(shifts).astype(float))
    return tuple(torch.tensor(column[order]) for column in columns)


def system_of(model: Any, mapping: Mapping) -> tuple[torch.Tensor, ...]:
    graph, spec = mapping.graph, model.spec
    kinds = np.zeros(len(graph.bonds), dtype=np.int64)
    if spec.bond_types:  # a published model may know none
        kinds = bond_type_index(graph, spec.bond_types)
    hands = () if mapping.hands is None else (torch.tensor(mapping.hands).long(),)
    return (
        torch.tensor(type_index(graph, list(spec.particle_types))),
        torch.tensor(graph.masses),
        torch.tensor(graph.bonds),
        torch.tensor(kinds),
        torch.tensor(mapping.bead_index),
        *hands,
    )


def steps_of(
    model: Any,
    mapping: Mapping,
    start: np.ndarray,
    box: np.ndarray | None,
    moves: np.ndarray | None = None,
) -> list[Any]:
    """Return arguments of some steps and what the propagator makes of them."""
    propagator = Propagator(
        model, mapping, box=box, seed=2, guard="record", unseen="allow"
    )
    state = propagator.start(start, displacements=moves)
    steps = []
    is_published = model.spec.kind == "graphwm"
    reach = (model.spec.cutoff or np.inf) + (3.0 if is_published else 0.2)
    reach = max(reach, getattr(model.spec, "reach", None) or 0.0)
    for _ in range(N_STEPS):
        noise = propagator._noise.draw(propagator._stepper.n_draws, state.step, [0])
        edges = pairs(
            mapping,
            state.positions.numpy(),
            box,
            reach,
            is_published=is_published,
        )
        known = int(state.n_known[0])
        arguments = (state.positions, state.displacements, known, *edges, *noise)
        state = propagator.step(state)
        steps.append((arguments, (state.positions, state.displacements)))
    return steps


def imported(folder: Path, name: str, content: dict[str, Any], origin: Origin) -> Path:
    source = write(
        folder / f"{name}.ckpt",
        {
            "state_dict": random_weights(content),
            "hyper_parameters": hyper_parameters(content),
        },
    )
    import_checkpoint(source, folder / f"{name}.pt", origin)
    return folder / f"{name}.pt"


def electrolyte() -> Mapping:
    """Return two chains and eight ions of the bundled model's types."""
    types = "EEEEX" * 16 + "+-" * 4
    bonds = [(i, i + 1) for i in range(79) if i != 39]
    graph = MolecularGraph.create(types, np.ones(len(types)), bonds)
    labels = np.concatenate((np.arange(80) // 5, 16 + np.arange(8)))
    return Mapping.from_labels(graph, labels)


def published_melt() -> Mapping:
    names = ["H", "C", "O", "C", "H", "N", "S", "C", "Li", "Li"]
    masses = {"H": 1.008, "C": 12.011, "O": 15.999, "N": 14.007, "S": 32.06, "Li": 6.94}
    bonds = [(i, i + 1) for i in range(7)]
    kinds = [str(i) for i in range(7)]
    graph = MolecularGraph.create(names, [masses[n] for n in names], bonds, kinds)
    return Mapping.from_labels(graph, [0, 0, 1, 1, 2, 2, 3, 3, 4, 5])


def cases(folder: Path) -> dict[str, tuple[Path, Any]]:
    """Name -> model file, and the inputs and outputs of its program."""
    found = {}

    def add(name: str, path: Path, mapping: Mapping, *rest: Any) -> None:
        model = load_model(path)
        steps = steps_of(model, mapping, *rest)
        found[name] = path, {"system": system_of(model, mapping), "steps": steps}

    bundled, stream = bundled_models(), np.random.default_rng(0)
    hands = np.array([0, 0, 1, 0, 0, 0, 0, 0, -1, 0], dtype=np.int8)
    for name, network in (
        ("angles", {"n_vectors": 4}),
        ("places", {"atom_places": True}),
        ("both", {"n_vectors": 8, "atom_places": True}),
        ("chiral", {"n_vectors": 4, "atom_places": True, "chiral": True}),
    ):
        model = learned(small_spec(network=network), seed=1)
        save_model(folder / f"{name}.pt", model.spec, model.module)
        own = replace(mixture(), hands=hands if name == "chiral" else None)
        add(name, folder / f"{name}.pt", own, coil(own), None)
    # beads see several images of others, and their own
    for name, cutoff, reach in (("narrow", 4.0, None), ("arrivals", 2.0, 4.0)):
        box = {"periodic": True, "friction": None, "remove_drift": True}
        model = learned(small_spec(cutoff=cutoff, reach=reach, **box))
        save_model(folder / f"{name}.pt", model.spec, model.module)
        add(name, folder / f"{name}.pt", mixture(), coil(mixture()), 0.5 * BOX)
    types = "ACDB" * 20
    graph = chain(types).graph
    graph = MolecularGraph.create(types, np.ones(80), graph.bonds)
    mapping = Mapping.from_spec(graph, load_model("copolymer-chain").spec)
    add("chain", bundled["copolymer-chain"], mapping, coil(mapping, bond=2.4), None)
    mapping = electrolyte()
    start = coil(mapping, bond=2.2)
    start[16:] += 3.0 * BOX[0] - 2.0 * BOX[2]  # unwrapped positions go anywhere
    add("electrolyte", bundled["polymer-electrolyte"], mapping, start, BOX)
    origin = Origin(frame_spacing=2.0, temperature=353.0, periodic=True)
    path = imported(folder, "melt", MELT, origin)
    moves = 0.05 * stream.normal(size=(3, 6, 3))
    start = stream.uniform(0.0, 1.5, (6, 3))
    add("melt", path, published_melt(), start, BOX, moves)
    origin = Origin(
        frame_spacing=5.0, temperature=300.0, periodic=False, length_unit=1.0
    )
    path = imported(folder, "published chain", CHAIN | {"radius": 4.0}, origin)
    graph = MolecularGraph.create(["1"] * 12, np.ones(12), chain("A" * 12).graph.bonds)
    mapping = Mapping.from_labels(graph, np.arange(12) // 3)
    add("published chain", path, mapping, coil(mapping), None)
    return found


def test_it_makes_the_steps_of_the_propagator_where_only_torch_is(tmp_path):
    """Open and periodic, with angles and without, trained here and published."""
    found, arguments = cases(tmp_path), []
    for name, (path, content) in found.items():
        torch.save(content, tmp_path / f"{name}.inputs")
        arguments += [str(path), str(tmp_path / f"{name}.inputs")]
    alone = tmp_path / "alone"
    alone.mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", ALONE, *arguments],
        cwd=alone,
        env={"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for name, (worst, time_step, cutoff, n_draws, types) in zip(
        found, lines, strict=True
    ):
        spec = load_model(found[name][0]).spec
        assert worst < CLOSE, name
        assert time_step == spec.time_step
        assert cutoff == (getattr(spec, "reach", None) or spec.cutoff or np.inf)
        assert n_draws == len(found[name][1]["steps"][0][0][6])
        assert types == list(spec.particle_types)


@pytest.mark.parametrize(
    "changes",
    [
        {"refinement": {"sampler": "heun"}},
        {"refinement": {"sampler": "ancestral", "noise_min": 0.3}},
        {"refinement": {"sampler": "langevin", "n_repeats": 2}},
        {"refinement": {"sampler": "none"}},
        {"friction": None, "remove_drift": True},
        {"cutoff": 3.0, "n_history": 0},
    ],
    ids=str,
)
def test_every_sampler_and_option(changes):
    """In this process, not compiled."""
    model = learned(small_spec(**changes))
    program = OwnProgram(model.spec, model.module)
    mapping = mixture()
    with torch.inference_mode():
        system = program.embed(*system_of(model, mapping))
        for arguments, expected in steps_of(model, mapping, coil(mapping), None):
            for found, value in zip(
                program.step(system, *arguments), expected, strict=True
            ):
                torch.testing.assert_close(found, value, atol=CLOSE, rtol=0.0)


def documented(language: str) -> str:
    text = (ROOT / "docs" / "model-file.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    return block


def output(*command: object) -> str:
    done = subprocess.run(
        [str(item) for item in command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_documented() -> str:
    code = ("-I", "-W", "ignore", "-c", documented("python"))
    return output(sys.executable, *code, bundled_models()["copolymer-chain"])


def test_the_documented_python():
    lines = run_documented().splitlines()
    assert [line.split()[0] for line in lines] == ["20", "40", "60"]
    assert np.isfinite([float(x) for line in lines for x in line.split()[2:]]).all()


def test_the_documents_name_every_argument_and_attribute():
    text = (ROOT / "docs" / "model-file.md").read_text(encoding="utf-8")
    for method in ("embed", "step"):
        arguments = inspect.signature(getattr(OwnProgram, method)).parameters
        published = inspect.signature(getattr(PublishedProgram, method)).parameters
        assert list(arguments) == list(published)
        assert f"`{method}({', '.join(list(arguments)[1:])})`" in text
        for name in list(arguments)[1:]:
            assert re.search(rf"^\| .*`{name}`", text, flags=re.MULTILINE), name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
def test_the_documented_cpp(tmp_path):
    source, program = tmp_path / "step.cpp", tmp_path / "step"
    source.write_text(documented("cpp"))
    places = [f"-I{path}" for path in include_paths()]
    for path in library_paths():
        places += [f"-L{path}", f"-Wl,-rpath,{path}"]
    libraries = ("-ltorch", "-ltorch_cpu", "-lc10")
    output("g++", "-std=c++20", "-O0", source, "-o", program, *places, *libraries)
    found = output(program, bundled_models()["copolymer-chain"])
    assert found == run_documented()
