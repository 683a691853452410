"""Reference data of single chains: .npz files of arrays, physics in their `meta`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cgml.frames import BeadTrajectory
from cgml.mapping import Mapping
from cgml.topology import MolecularGraph

_ARRAYS = ("x", "types", "rg2", "x0", "meta")


def read_reference(
    path: Path | str,
    *,
    particle_types: Sequence[str] = ("A", "B", "C", "D"),
    group: int = 5,
) -> list[BeadTrajectory]:
    """Read linear chains of unit masses, stored as atoms or as runs of atoms.

    The file holds `x`, (n_chains, n_frames, n, 3), nm; `types`, (n_chains,
    n_atoms); `rg2` of all atoms, (n_chains, n_frames), nm^2; `x0`, all atoms of the
    first frame; and `meta`, JSON with `frame`, the time between frames, ps, and
    `group`, the atoms per stored position.

    Args:
        path: the .npz file.
        particle_types: names of types 0, 1, ...
        group: atoms per bead.

    Returns:
        One trajectory of beads per chain, named after the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, a truncated one, or one stored for beads of
            another size.
    """
    path = Path(path)
    arrays = _load(path)
    meta = _meta(arrays["meta"], path)
    if meta["group"] not in {1, group}:
        raise ValueError(
            f"beads of {group} atoms are required, {path} holds beads of "
            f"{meta['group']}"
        )
    types = arrays["types"]
    if types.min() < 0 or types.max() >= len(particle_types):
        raise ValueError(
            f"{path} holds types {types.min()} to {types.max()}, names are given for "
            f"{len(particle_types)}: {', '.join(particle_types)}"
        )
    stem = path.stem.removeprefix("chain_")
    return [
        BeadTrajectory(
            mapping=(mapping := _linear(types[i], particle_types, group)),
            positions=x if meta["group"] == group else mapping.positions(x),
            times=np.arange(len(x), dtype=np.float64) * meta["frame"],
            name=f"{stem}_{i:03d}",
            observables={"rg2": arrays["rg2"][i]},
            first_atoms=arrays["x0"][i],
        )
        for i, x in enumerate(arrays["x"])
    ]


def _meta(array: NDArray[Any], path: Path) -> dict[str, Any]:
    """Read the JSON of a file."""
    try:
        meta = json.loads(str(array))
        return {"frame": float(meta["frame"]), "group": int(meta["group"])}
    except KeyError as error:
        raise ValueError(f"the meta of {path} lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as reference chains: its meta is no JSON of a "
            f"run: {error}"
        ) from error


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays, or say why not."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            names = [] if isinstance(file, np.ndarray) else file.files
            missing = [name for name in _ARRAYS if name not in names]
            if missing:
                raise ValueError(
                    f"the arrays {', '.join(_ARRAYS)} are required, it lacks "
                    f"{', '.join(missing)}"
                )
            return {name: file[name] for name in _ARRAYS}
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as reference chains: {error}"
        ) from error


def _linear(
    types: NDArray[np.integer[Any]], names: Sequence[str], group: int
) -> Mapping:
    """Cut a linear chain of unit masses into runs."""
    first = np.arange(len(types) - 1)
    graph = MolecularGraph.create(
        [names[kind] for kind in types],
        np.ones(len(types)),
        np.stack([first, first + 1], axis=1),
    )
    return Mapping.from_partition(graph, group)
