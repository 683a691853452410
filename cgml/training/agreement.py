"""The one recipe of all frames of a training run."""

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import GIVEN, Recipe


def shared_recipe(systems: Sequence[BeadTrajectory], asked: Table[str, Any]) -> Recipe:
    """Find the one recipe that cuts all molecules into the very beads they have.

    Frames bring their recipe along; older files do not, there it is what is asked for
    (attribute of the recipe -> value, as the training file says), or else the only
    whole number of atoms per bead that explains the beads.

    Raises:
        ValueError: frames of several recipes, another recipe is asked for, or none is
            found; the text says what to do.
    """
    found = {item.mapping.recipe: item.name for item in systems}
    found.pop(None, None)
    stored = [recipe for recipe in found if recipe is not None]
    if (
        len({replace(one, keep_hydrogens=False, keep_groups=False) for one in stored})
        == 1
    ):
        # united atoms are cut alike whatever is kept with its heavy atom
        stored = [one for one in stored if _explains(one, systems)][:1] or stored
    if len(stored) > 1:
        one, other, *_ = stored
        raise ValueError(
            f"frames of one recipe are required, {found[one]!r} was cut with {one}, "
            f"{found[other]!r} with {other}: prepare them again with one of the two"
        )
    if stored:
        recipe = stored[0]
        recipe.require(asked, "the frames")
    elif "atoms_per_bead" in asked and asked.get("method") != GIVEN:
        recipe = Recipe(**asked)
    else:
        recipe = Recipe(**{"atoms_per_bead": _whole_size(systems, asked), **asked})
    if recipe.method == GIVEN:
        return recipe
    for item in systems:
        if not _explains(recipe, [item]):
            wanted = Mapping.from_recipe(item.mapping.graph, recipe)
            raise ValueError(
                f"{item.name!r} has {item.mapping.n_beads} beads that are not those of "
                f"{recipe}, which makes {wanted.n_beads}: correct the training file, "
                'prepare the frames again, or write partition = "given" if the beads '
                "were assigned by hand"
            )
    return recipe


def _explains(recipe: Recipe, systems: Sequence[BeadTrajectory]) -> bool:
    """Whether a recipe cuts all molecules into the very beads they have."""
    return recipe.method == GIVEN or all(
        np.array_equal(
            Mapping.from_recipe(item.mapping.graph, recipe).bead_index,
            item.mapping.bead_index,
        )
        for item in systems
    )


def _whole_size(systems: Sequence[BeadTrajectory], asked: Table[str, Any]) -> float:
    """Find the one whole number of atoms per bead that explains the beads.

    The mean where beads are given by hand: there it cuts nothing.
    """
    mappings = [item.mapping for item in systems]
    atoms = np.concatenate([np.bincount(m.graph.molecule_index) for m in mappings])
    beads = np.concatenate([np.bincount(m.molecule_index) for m in mappings])
    if asked.get("method") == GIVEN:
        return float(atoms.sum() / beads.sum())
    cut = beads > 1  # ions tell nothing
    sizes = [
        size
        for size in range(1, int(atoms.max(initial=1)) + 1)
        if (np.round(atoms[cut] / size) == beads[cut]).all()
    ]
    if not cut.any() or len(sizes) != 1:
        raise ValueError(
            "the number of atoms per bead is required, the frames are older than "
            "recipes or their beads were assigned by hand, and "
            f"{' and '.join(map(str, sizes[:3])) or 'no whole number'} would explain "
            "them: write atoms_per_bead (and single_bead_limit) as given to cgml "
            'prepare into the training file, or partition = "given"'
        )
    return float(sizes[0])
