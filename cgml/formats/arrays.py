"""Reference data, chains or boxes: .npz files of arrays, physics in their `meta`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgml.formats.format import FARTHEST, LONGEST, check_finite, reading
from cgml.molecules.frames import BeadTrajectory, cut
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.npz import read_arrays
from cgml.ranges import at_least, number, positive

_CHAINS = ("x", "types", "rg2", "x0", "meta")
_BOX = ("x", "kind", "chain", "seq", "box", "meta")
_KINDS = {"x": "f", "rg2": "f", "x0": "f", "box": "f", "types": "iu", "chain": "i"}
_MASS = 1.0  # of every atom, Da


def read_reference(
    path: Path | str,
    *,
    particle_types: Sequence[str] = ("A", "B", "C", "D"),
    recipe: Recipe | None = None,
) -> list[BeadTrajectory]:
    """Read linear chains of unit masses, stored as atoms or as runs of atoms.

    A file of free chains holds `x`, (n_chains, n_frames, n, 3), nm; `types`,
    (n_chains, n_atoms); `rg2` of all atoms, (n_chains, n_frames), nm^2; and `x0`, all
    atoms of the first frame.

    A file of one periodic box of alike chains and ions holds `x`, (n_frames, n, 3), nm,
    unwrapped; `kind` of each stored position, (n,), "P" for a polymer and else the
    type of the ion; its `chain`, (n,), -1 for ions, which come last; `seq`, the types
    of the atoms of a chain, one letter each; and `box`, the edge of the cube, nm.

    Both hold `meta`, JSON with `frame`, the time between frames, ps, and `group`, the
    atoms per stored position of a chain.

    Args:
        path: the .npz file.
        particle_types: names of types 0, 1, ... of free chains.
        recipe: how atoms become beads; None: as stored, or the default one.

    Returns:
        One trajectory of beads per free chain, or that of the box, named after the
        file. first_atoms is None where a box was stored as runs of atoms.

    Raises:
        ValueError: no such file, a truncated one, or one of beads of another size.
    """
    path = Path(path)
    with reading(path):
        return _read(_load(path), path, particle_types, recipe)


def _read(
    arrays: dict[str, NDArray[Any]],
    path: Path,
    particle_types: Sequence[str],
    recipe: Recipe | None,
) -> list[BeadTrajectory]:
    """Make the trajectories of a file."""
    meta = _meta(arrays["meta"], path)
    _check_arrays(arrays, path)
    group = meta["group"]
    if recipe is not None and group not in {1, round(recipe.atoms_per_bead)}:
        raise ValueError(
            f"beads of {recipe.atoms_per_bead:g} atoms are required, {path} holds "
            f"beads of {group}"
        )
    recipe = recipe or Recipe()
    if group > 1:  # the beads are there, cut with this number
        recipe = replace(recipe, atoms_per_bead=group)
    if "kind" in arrays:
        return [_read_box(arrays, meta, recipe, path)]
    return _read_chains(arrays, meta, recipe, particle_types, path)


def read_frames(
    path: Path, recipe: Recipe | None, n_frames: int | None
) -> Iterator[BeadTrajectory]:
    """Read all systems of a file, the first frames of each."""
    for system in read_reference(path, recipe=recipe):
        yield cut(system, slice(n_frames))


def _check_arrays(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Refuse arrays of other shapes, without systems or frames, or with NaN."""
    x, is_box = arrays["x"], "kind" in arrays
    shape = "(n_frames, n, 3)" if is_box else "(n_chains, n_frames, n, 3)"
    if x.ndim != (3 if is_box else 4) or x.shape[-1] != 3 or not x.size:
        raise ValueError(
            f"x of shape {shape} with one frame or more is required, {path} has "
            f"{x.shape}"
        )
    if is_box:
        check_finite(path, 0, x)
        return
    for chain, frames in enumerate(x):
        check_finite(f"{path}, chain {chain},", 0, frames)
    n_chains, n_frames, n = x.shape[:3]
    shapes = {name: arrays[name].shape for name in ("types", "rg2", "x0")}
    if shapes["types"][:1] != (n_chains,) or shapes["types"][1:] < (n,):
        raise ValueError(
            f"types of shape (n_chains, n_atoms) are required for {n_chains} chains, "
            f"{path} has {shapes['types']}"
        )
    n_atoms = shapes["types"][1]
    required = {"rg2": (n_chains, n_frames), "x0": (n_chains, n_atoms, 3)}
    for name, wanted in required.items():
        if shapes[name] != wanted:
            raise ValueError(
                f"{name} of shape {wanted} is required, {path} has {shapes[name]}"
            )
        if not (abs(arrays[name]) <= FARTHEST**2).all():
            raise ValueError(
                f"{name} must be finite, {path} has NaN, infinity or {FARTHEST**2:g}"
            )


def _read_chains(
    arrays: dict[str, NDArray[Any]],
    meta: dict[str, Any],
    recipe: Recipe,
    names: Sequence[str],
    path: Path,
) -> list[BeadTrajectory]:
    """Make the trajectories of free chains."""
    types = arrays["types"]
    if types.min() < 0 or types.max() >= len(names):
        raise ValueError(
            f"{path} holds types {types.min()} to {types.max()}, names are given for "
            f"{len(names)}: {', '.join(names)}"
        )
    stem = path.stem.removeprefix("chain_")
    return [
        BeadTrajectory(
            mapping=(mapping := _map([names[k] for k in types[i]], 1, [], recipe)),
            positions=x if meta["group"] > 1 else mapping.positions(x),
            times=np.arange(len(x), dtype=np.float64) * meta["frame"],
            name=f"{stem}_{i:03d}",
            observables={"rg2": arrays["rg2"][i]},
            first_atoms=arrays["x0"][i],
        )
        for i, x in enumerate(arrays["x"])
    ]


def _read_box(
    arrays: dict[str, NDArray[Any]], meta: dict[str, Any], recipe: Recipe, path: Path
) -> BeadTrajectory:
    """Make the trajectory of a periodic box."""
    x, chain, kind = arrays["x"], arrays["chain"], arrays["kind"]
    letters, ions = list(str(arrays["seq"])), kind[kind != "P"].tolist()
    n_chains = int(chain.max(initial=-1)) + 1
    if chain.ndim != 1 or n_chains > len(chain):
        raise ValueError(f"chain must be (n,) numbers from 0, {path} has others")
    positive(float(arrays["box"].reshape(-1)[0]), "the box", "nm")
    mapping = _map(letters, n_chains, ions, recipe)
    is_atoms = meta["group"] == 1
    owner = mapping.graph.molecule_index if is_atoms else mapping.molecule_index
    expected = np.where(owner < n_chains, owner, -1)  # an ion has no chain
    if not (
        np.array_equal(chain, expected) and np.array_equal(kind == "P", expected >= 0)
    ):
        raise ValueError(
            f"{n_chains} chains of {len(letters)} atoms, one after the other, and then "
            f"{len(ions)} ions are {len(expected)} positions, {path} holds "
            f"{len(chain)}, or in another order"
        )
    if arrays["box"].shape != ():
        raise ValueError(
            f"the edge of a cube is required, the box of {path} has shape "
            f"{arrays['box'].shape}"
        )
    return BeadTrajectory(
        mapping=mapping,
        positions=mapping.positions(x) if is_atoms else x,
        times=np.arange(len(x), dtype=np.float64) * meta["frame"],
        box=float(arrays["box"]) * np.eye(3),
        name=path.stem,
        first_atoms=x[0] if is_atoms else None,
    )


def _meta(array: NDArray[Any], path: Path) -> dict[str, Any]:
    """Read the JSON of a file."""
    try:
        meta = json.loads(str(array))
        return {
            "frame": _frame(float(number(meta["frame"], "frame"))),
            "group": at_least(int(number(meta["group"], "group")), 1, "group"),
        }
    except KeyError as error:
        raise ValueError(f"the meta of {path} lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path} cannot be read as reference data: its meta is no JSON of a "
            f"run: {error}"
        ) from error


def _frame(spacing: float) -> float:
    """Time between frames, ps."""
    if positive(spacing, "frame", "ps") > LONGEST:
        raise ValueError(f"frame must be at most {LONGEST:g} ps, got {spacing:g} ps")
    return spacing


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays, or say why not."""
    arrays = read_arrays(path, {*_CHAINS, *_BOX}, "reference data")
    required = _BOX if "kind" in arrays else _CHAINS
    missing = [name for name in required if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} cannot be read as reference data: the arrays "
            f"{', '.join(required)} are required, it lacks {', '.join(missing)}"
        )
    for name, kinds in _KINDS.items():
        if name in arrays and arrays[name].dtype.kind not in kinds:
            raise ValueError(f"{path} holds {name} of type {arrays[name].dtype}")
    return arrays


def _map(
    types: Sequence[str], n_chains: int, ions: Sequence[str], recipe: Recipe
) -> Mapping:
    """Cut alike linear chains of unit masses into runs; leave ions alone."""
    n = len(types)
    starts = n * np.arange(n_chains)[:, None]
    first = (starts + np.arange(n - 1)).reshape(-1)
    names = [*types] * n_chains + [*ions]
    graph = MolecularGraph.create(
        names, np.full(len(names), _MASS), np.stack([first, first + 1], axis=1)
    )
    return Mapping.from_recipe(graph, recipe)
