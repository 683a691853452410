"""What a model has not seen it says: refused, warned of, or allowed by a switch."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from cgml.dynamics.propagator import Propagator
from cgml.models.file import bundled_models, load_model, read_spec
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.seen import check_seen, survey
from cgml.spec import Seen

BOX = 3.0 * np.eye(3)
MASSES = {"C": 12.011, "H": 1.008, "O": 15.999, "Li": 6.94}


def chain(unit: str, n_units: int, first: int = 0) -> tuple[str, list[list[int]]]:
    """Backbone atoms one after the other, hydrogens on the atom before them."""
    bonds, backbone = [], None
    for place, name in enumerate(unit * n_units, first):
        if name == "H":
            bonds.append([backbone, place])
            continue
        if backbone is not None:
            bonds.append([backbone, place])
        backbone = place
    return unit * n_units, bonds


def mixture(*parts: tuple[str, int], ions: int = 0, per_bead: float = 7.0) -> Mapping:
    types: list[str] = []
    bonds: list[list[int]] = []
    for unit, n_units in parts:
        names, pairs = chain(unit, n_units, len(types))
        types += names
        bonds += pairs
    types += ["Li"] * ions
    graph = MolecularGraph.create(types, [MASSES[name] for name in types], bonds)
    return Mapping.from_partition(graph, per_bead, single_bead_limit=4)


PEO = [("CHHCHHO", 8), ("CHHCHHO", 6)]
SEEN = survey([(mixture(*PEO, ions=3), BOX), (mixture(*PEO, ions=2), 0.99 * BOX)])


def spec(tiny_model, **update):
    changed = {"name": "peo", "atoms_per_bead": 7.0, "seen": SEEN} | update
    return load_model(tiny_model).spec.model_copy(update=changed)


def test_survey_says_what_is_there():
    assert SEEN.small_molecules == [{"Li": 1}]
    assert SEEN.molecule_beads == (6, 8)
    assert SEEN.bead_bonds == (1, 2)
    mapping = mixture(*PEO, ions=3)
    cut = [
        [mapping.graph.types[i] for i in np.flatnonzero(mapping.bead_index == bead)]
        for bead in range(mapping.n_beads - 3)
    ]
    for name in "CHO":
        counts = [bead.count(name) for bead in cut]
        assert SEEN.bead_atoms[name] == (min(counts), max(counts))
    densities = (17 / 27.0, 16 / (0.99**3 * 27.0))
    assert SEEN.density == pytest.approx((min(densities), max(densities)))
    assert Seen.model_validate_json(SEEN.model_dump_json(), strict=True) == SEEN
    assert survey([(mixture(*PEO), None)]).density is None


def test_what_was_seen_is_taken_without_a_word(tiny_model):
    check_seen(spec(tiny_model), [mixture(*PEO, ions=3)], BOX, "refuse")
    check_seen(spec(tiny_model), [mixture(*PEO[::-1], ions=3)] * 3, BOX, "refuse")
    check_seen(spec(tiny_model, seen=None), [mixture(("OHH", 1))], BOX, "refuse")


NEW = {
    "water": ([("OHH", 1)], 0, r"bead 0 \(atoms 0 to 2\) of 2 H and 1 O, .* 1 Li"),
    "water among peo": ([*PEO, ("OHH", 1)], 2, r"of 2 H and 1 O, a molecule by itself"),
    "polyethylene": ([("CHH", 20)], 0, r"of \d C and \d+ H; it knows beads of .* O"),
    "peroxide": ([("O", 28)], 0, r"of \d O; it knows beads of \d"),
}


@pytest.mark.parametrize(
    ("parts", "ions", "match"), list(NEW.values())[:4], ids=[*NEW][:4]
)
def test_new_kinds_of_beads_are_refused(tiny_model, parts, ions, match):
    mapping, told = mixture(*parts, ions=ions), spec(tiny_model)
    with pytest.raises(ValueError, match=r"'peo' has never seen " + ".*" + match):
        check_seen(told, [mixture(*PEO, ions=3), mapping], BOX, "refuse")
    with pytest.warns(UserWarning, match="beyond what it has seen: .*allowed: bead"):
        check_seen(told, [mapping], BOX, "warn")
    check_seen(told, [mapping], BOX, "allow")


def test_beads_of_another_recipe_are_refused(tiny_model):
    """Their compositions may pass, within the margins."""
    told = spec(tiny_model)
    other = mixture(*PEO, ions=3, per_bead=6.5)
    with pytest.raises(ValueError, match=r"beads cut with 6\.5 .* recipe, 7 atoms"):
        check_seen(told, [other], BOX, "refuse")
    check_seen(told, [replace(other, recipe=None)], BOX, "allow")
    match = r"beads cut with 3 .* give the atoms, .* cgml prepare --atoms-per-bead 7 "
    with pytest.raises(ValueError, match=match):  # rather than what is in one of them
        check_seen(told, [mixture(*PEO, ions=3, per_bead=3)], BOX, "refuse")


def test_branched_molecules_are_refused(tiny_model):
    """Three arms of beads of the right atoms, where only chains were seen."""
    bonds = [[i, i + 1] for i in range(27) if i % 7 != 6]  # four beads of seven atoms
    bonds += [[3, 7], [2, 14], [4, 21]]
    types = "CCHHHHO" * 4
    graph = MolecularGraph.create(types, [MASSES[name] for name in types], bonds)
    star = Mapping.from_labels(graph, np.repeat(np.arange(4), 7))
    told = spec(tiny_model)
    with pytest.raises(ValueError, match=r"that is bonded to 3 beads; it knows 1 to 2"):
        check_seen(told, [star], BOX, "refuse")


@pytest.mark.parametrize(
    ("parts", "width", "match"),
    [
        ([("CHHCHHO", 20)], 3.0, "molecules of 20 beads, of 6 to 8"),
        ([("CHHCHHO", 3)] * 5, 3.0, "molecules of 3 beads, of 6 to 8"),
        (PEO, 2.5, r"0\.896 beads per nm\^3, of 0\.611 to 0\.63"),
        (PEO, 9.0, r"0\.0192 beads per nm\^3, of"),
    ],
)
def test_sizes_and_densities_are_said(tiny_model, parts, width, match):
    told, box = spec(tiny_model), width * np.eye(3)
    with pytest.warns(UserWarning, match=match):
        check_seen(told, [mixture(*parts)], box, "refuse")
    check_seen(told, [mixture(*parts)], box, "allow")


def test_a_little_more_of_a_type_is_said(tiny_model):
    """Cut a little otherwise: the first bead has no oxygen, the second has two."""
    graph = mixture(("CHHCHHO", 6)).graph
    other = Mapping.from_labels(graph, np.repeat(np.arange(6), [6, 8, 7, 7, 7, 7]))
    with pytest.warns(UserWarning, match=r"2 beads such as 2 C and 4 H; it knows"):
        check_seen(spec(tiny_model), [other], BOX, "refuse")


def test_misspelt_choice(tiny_model):
    with pytest.raises(
        ValueError, match="must be 'refuse', 'warn' or 'allow', got 'no'"
    ):
        check_seen(spec(tiny_model), [mixture(*PEO)], BOX, "no")


def test_propagator_asks(tiny_model):
    model = load_model(tiny_model)
    types = "AABB" * 10
    bonds = [[i, i + 1] for i in range(39)]
    graph = MolecularGraph.create(types, np.ones(40), bonds)
    mapping = Mapping.from_spec(graph, model.spec)
    seen = survey([(mapping, None)])
    told = type(model)(model.spec.model_copy(update={"seen": seen}), model.module)
    Propagator(told, mapping)
    other = MolecularGraph.create("C" * 40, np.ones(40), bonds)
    with pytest.raises(ValueError, match="never seen bead 0"):
        Propagator(told, Mapping.from_spec(other, model.spec))
    with pytest.warns(UserWarning, match="allowed: bead 0"):
        Propagator(told, Mapping.from_spec(other, model.spec), unseen="warn")


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_bundled_models_say_what_they_have_seen(name):
    spec = read_spec(bundled_models()[name])
    assert spec.seen is not None
    assert set(spec.seen.bead_atoms) <= set(spec.particle_types)
    assert {"seen", "training data"} & spec.provenance.keys()
    if name == "copolymer-chain":
        sequence = "DCACABABCAAAAABAAACDAADCCAAAACBAAACADAACAACADCCACA" * 2
        for types in (sequence, "A" * 100, "CD" * 50):
            graph = MolecularGraph.create(
                types, np.ones(100), [[i, i + 1] for i in range(99)]
            )
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                check_seen(spec, [Mapping.from_spec(graph, spec)], None, "refuse")


def test_a_chiral_model_refuses_the_other_hand(tiny_model):
    """Of beads that it knows with one hand alone; what has no hand is no matter."""
    plain = mixture(*PEO, ions=3)

    def of(hand: int) -> Mapping:
        hands = np.zeros(plain.graph.n_atoms, dtype=np.int8)
        hands[[0, 9]] = hand
        return replace(plain, hands=hands)

    assert survey([(of(1), BOX)]).hands == []
    seen = survey([(of(1), BOX)], is_chiral=True)
    assert all(text.startswith("R in a bead of ") for text in seen.hands)
    assert "hands" not in SEEN.model_dump()
    assert Seen.model_validate(seen.model_dump()) == seen
    flat = spec(tiny_model, seen=seen)
    network = flat.network.model_copy(update={"chiral": True, "n_vectors": 2})
    chiral = flat.model_copy(update={"network": network})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model, mapping in ((chiral, of(1)), (chiral, of(0)), (flat, of(-1))):
            check_seen(model, [mapping], BOX, "refuse")
    match = "has never seen bead 0 .* whose hand is S; it knows R in a bead of .*"
    with pytest.raises(ValueError, match=match):
        check_seen(chiral, [of(-1)], BOX, "refuse")
    with pytest.warns(UserWarning, match="whose hand is S"):
        check_seen(chiral, [of(-1)], BOX, "warn")
    both = survey([(of(-1), BOX)], seen, is_chiral=True)
    check_seen(chiral.model_copy(update={"seen": both}), [of(-1)], BOX, "refuse")
