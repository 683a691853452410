"""One recipe of coarse-graining, from the frames to the model."""

from typing import Any

import numpy as np
import pytest
from core_systems import frames_of, small_spec

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.training.agreement import shared_recipe


def chain(n: int) -> MolecularGraph:
    bonds = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    return MolecularGraph.create(["A"] * n, np.ones(n), bonds)


def frames(n: int, recipe: Recipe, *, is_known: bool = True, name: str = ""):
    mapping = Mapping.from_recipe(chain(n), recipe)
    if not is_known:
        mapping = Mapping.from_labels(mapping.graph, mapping.bead_index)
    return frames_of(mapping, np.zeros((2, mapping.n_beads, 3)), name=name or f"c{n}")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0.5,), "atoms_per_bead must be 1 or more, got 0.5"),
        ((np.nan,), "atoms_per_bead must be 1 or more, got nan"),
        ((np.inf,), "atoms_per_bead must be 1 or more, got inf"),
        ((True,), "atoms_per_bead must be a number, got True"),
        ((5.0, "metis"), "'recursive', 'kway' or 'runs', got 'metis'"),
        ((1e30,), r"atoms_per_bead must be 1 or more, got 1e\+30; 1e\+06 are the most"),
        ((5.0, "kway", -1), "single_bead_limit must be 0 or more, got -1"),
    ],
)
def test_wrong_recipes(arguments: tuple[Any, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Recipe(*arguments)


def test_number_of_beads() -> None:
    recipe = Recipe(5, single_bead_limit=14)
    assert [recipe.n_beads(n) for n in (1, 14, 15, 100)] == [1, 1, 3, 20]


def test_a_mapping_keeps_its_recipe() -> None:
    mapping = Mapping.from_partition(chain(13), 5, single_bead_limit=3)
    assert mapping.recipe == Recipe(5, "recursive", 3, keep_hydrogens=True)
    again = Mapping.from_json(mapping.to_json())
    assert again.recipe == mapping.recipe
    by_hand = Mapping.from_labels(mapping.graph, mapping.bead_index)
    assert by_hand.recipe is None
    assert Mapping.from_json(by_hand.to_json()).recipe is None
    assert again.hash() == mapping.hash() == by_hand.hash()  # as before recipes


def test_a_damaged_recipe_is_refused() -> None:
    text = Mapping.from_partition(chain(4), 2).to_json().replace("2", "0.5")
    with pytest.raises(ValueError, match="text is damaged"):
        Mapping.from_json(text)


def test_the_frames_bring_their_recipe() -> None:
    recipe = Recipe(5, "kway", 7)
    systems = [frames(13, recipe), frames(7, recipe)]
    assert shared_recipe(systems, {}) == recipe
    assert shared_recipe(systems, {"atoms_per_bead": 5.0, "method": "kway"}) == recipe


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"atoms_per_bead": 4.0}, "atoms_per_bead = 4 is asked .*_per_bead = 5:"),
        ({"method": "kway"}, "partition = 'kway' is asked for, .* = 'recursive'"),
        ({"single_bead_limit": 9}, "limit = 9 is asked for, the frames .*_limit = 0"),
    ],
)
def test_another_recipe_is_refused(asked: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        shared_recipe([frames(13, Recipe(5))], asked)


def test_frames_of_two_recipes() -> None:
    systems = [frames(13, Recipe(5), name="one"), frames(20, Recipe(4), name="two")]
    match = "'one' was cut with 5 atoms .*, 'two' with 4 atoms per bead"
    with pytest.raises(ValueError, match=match):
        shared_recipe(systems, {})


def test_older_frames() -> None:
    """Without a recipe: derived where one number alone explains the beads."""
    long, short = (frames(n, Recipe(5), is_known=False) for n in (100, 13))
    assert shared_recipe([long], {}) == Recipe(5)
    assert shared_recipe([long, frames(13, Recipe(5))], {}) == Recipe(5)
    with pytest.raises(ValueError, match=r"per bead is required.* 4 and 5 would .*wri"):
        shared_recipe([short], {})
    assert shared_recipe([short], {"atoms_per_bead": 5.0}) == Recipe(5)
    with pytest.raises(ValueError, match="no whole number would explain"):
        shared_recipe([frames(100, Recipe(5.5), is_known=False)], {})
    with pytest.raises(ValueError, match="'c13' has 3 beads that are not those of 6"):
        shared_recipe([short], {"atoms_per_bead": 6.0})


def test_beads_assigned_by_hand() -> None:
    mapping = Mapping.from_labels(chain(6), [0, 1, 1, 1, 1, 1])
    system = frames_of(mapping, np.zeros((2, 2, 3)), name="own")
    with pytest.raises(ValueError, match=r"3 and 4 would .*partition = .given"):
        shared_recipe([system], {})
    with pytest.raises(ValueError, match=r"'own' has 2 beads that are not .*given"):
        shared_recipe([system], {"atoms_per_bead": 3.0})
    recipe = shared_recipe([system], {"method": "given"})
    assert recipe == Recipe(3.0, "given")
    spec = small_spec(atoms_per_bead=3.0, partition="given")
    assert Recipe.from_spec(spec) == recipe
    with pytest.raises(ValueError, match="assigned by hand, so atoms cannot be cut"):
        Mapping.from_spec(chain(6), spec)


def test_recipes_that_cut_alike_agree() -> None:
    """Atoms without hydrogens: older frames, and those that keep what is not there."""
    old, new = Recipe(5), Recipe(5, keep_hydrogens=True)
    systems = [frames(13, old, name="old"), frames(20, new, name="new")]
    assert shared_recipe(systems, {}) in (old, new)
