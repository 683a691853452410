"""Comparison of boxes: identical, faster, thinner, collapsed ones."""

from dataclasses import replace

import numpy as np
import pytest
from electrolyte_systems import BOX, N_BEADS, N_CHAINS, electrolyte, walk

from cgml.evaluation import comparison
from cgml.evaluation.measures import (
    attachment,
    collisions,
    displacement,
    pairs,
    residence,
    segments,
)
from cgml.evaluation.measures.conduction import conduct
from cgml.evaluation.results import Comparison, ComparisonOptions, column
from cgml.evaluation.subject import Run
from cgml.molecules.box import minimum_image
from cgml.observables import peaks, structure, transport
from cgml.units import SIEMENS_PER_METRE

OPTIONS = ComparisonOptions(shortest=2.0, longest=60.0, quantile=0.02)


@pytest.fixture(scope="module", autouse=True)
def reach():
    """Free walkers have no minimum of g: how near they are in contact is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peaks, "first_minimum", lambda rdf: 0.8 + 0.0 * rdf.values[0])
        yield


@pytest.fixture(scope="module")
def reference() -> Run:
    return walk(1)


@pytest.fixture(scope="module")
def same(reference) -> Comparison:
    return comparison.compare(electrolyte(), reference, reference, options=OPTIONS)


def test_a_run_equals_itself(same):
    for name, value in same.figures.items():
        if name.endswith(("_error", "_deviation")):
            too_long = name.endswith("_1000ps_error")  # of 300 ps
            stays = name.startswith("end_time")  # rigid chains never turn
            expected = np.nan if too_long or stays else 0.0
            assert value.value == pytest.approx(expected, abs=1e-12, nan_ok=True), name
    assert same.figures["collisions_ratio"].value == pytest.approx(1.0)
    assert set(same.once(residence.stays)) == set(same.subject.pairs)
    assert same.once(collisions.pieces).shape == (2, 10)


def test_a_run_too_short_for_its_lags_has_no_deviation(reference):
    """Nothing to look at from the shortest lag on: no figure, and no error."""
    late = ComparisonOptions(shortest=200.0, longest=300.0)
    found = comparison.compare(electrolyte(), reference, reference, options=late)
    values = [v for k, v in found.figures.items() if k.startswith("msd_")]
    assert values
    assert np.isnan([value.value for value in values]).all()


def test_no_collision_in_a_short_run_is_no_certain_zero(reference):
    """Of a box that never has one, 20 frames tell less than all of them."""
    steps = np.stack(np.meshgrid(*3 * [np.arange(0.0, 1.0, 0.25)]), axis=-1)
    places = steps.reshape(-1, 3)[:N_BEADS] @ BOX  # 0.75 nm apart
    noise = 0.02 * np.random.default_rng(3).normal(size=(1, 120, N_BEADS, 3))
    errors = {}
    for n in (30, 120):
        apart = Run((places + noise)[:, :n], reference.time_step)
        figures = comparison.compare(
            electrolyte(), reference, apart, options=OPTIONS
        ).figures
        assert figures["collisions_ratio"].value == 0.0
        assert figures["collisions_ratio"].error > 0.0
        errors[n] = figures["collisions_learned"].error
    expected = figures["collisions_reference"].error
    assert errors[120] == pytest.approx(expected * np.sqrt(300 / 120))  # two runs
    assert errors[30] == pytest.approx(2.0 * errors[120])


def test_reference_collides_as_the_quantile_says(same, reference):
    """A pair is the nearest of two beads, or of one."""
    share = same.figures["collisions_reference"].value
    assert 0.5 * 0.02 <= share <= 0.02
    count = structure.collisions(
        reference.positions,
        BOX,
        same.figures["collision_distance"].value,
        bonds=same.subject.bonds,
    )
    assert share == pytest.approx(count.mean())


def curves_of(run: Run, longest: float) -> dict[str, transport.Displacement]:
    item = electrolyte()
    return {
        name: displacement.displacement(item, run, name, longest)
        for name in item.species
    }


def test_species_are_measured_as_asked(reference):
    curves = curves_of(reference, 20.0)
    still = transport.remove_drift(reference.positions, electrolyte().masses)
    chains = still[:, :, :12].reshape(2, 150, 4, 3, 3).mean(axis=3)
    expected = transport.mean_squared_displacement(chains, 2.0, longest=20.0)
    np.testing.assert_allclose(curves["polymer"].values, expected.values)
    ions = transport.mean_squared_displacement(still[:, :, 12:18], 2.0, longest=20.0)
    np.testing.assert_allclose(curves["cation"].values, ions.values)


def neighbours_in_other_chains(run: Run, cutoff: float) -> float:
    """Beads of other trimers within a cutoff of one of a trimer, by a loop."""
    item, count = electrolyte(), 0
    beads = item.species["polymer"]
    for frame in run.positions.reshape(-1, N_BEADS, 3):
        for i in beads:
            others = beads[item.molecules[beads] != item.molecules[i]]
            vectors = minimum_image(frame[others] - frame[i], BOX)
            count += int((np.linalg.norm(vectors, axis=1) < cutoff).sum())
    return count / (2 * run.n_frames * len(beads))


def test_only_other_chains_stand_around_a_chain(reference):
    """Beads of one trimer are near, and count neither in g(r) nor as contacts."""
    few = reference.first(30)
    found = comparison.compare(electrolyte(), few, few, OPTIONS)
    rdf, _ = found.once(pairs.distributions)["polymer-polymer"]
    edges = np.arange(len(rdf.distances) + 1) * 2.0 * rdf.distances[0]
    n_others, reach = 3 * N_CHAINS - 3, 12
    shells = 4.0 / 3.0 * np.pi * np.diff(edges[: reach + 1] ** 3) / 27.0  # of the box
    number = n_others * float(rdf.values[:reach] @ shells)
    assert number == pytest.approx(neighbours_in_other_chains(few, edges[reach]))
    (_, contacts), _ = found.once(residence.stays)["polymer-polymer"]
    cutoff = peaks.first_minimum(rdf)
    assert contacts.value == pytest.approx(neighbours_in_other_chains(few, cutoff))


def test_without_a_minimum_there_are_no_contacts(reference, monkeypatch):
    monkeypatch.setattr(peaks, "first_minimum", lambda rdf: np.nan * rdf.values[0])
    few = reference.first(40)
    figures = comparison.compare(electrolyte(), few, few, OPTIONS).figures
    names = [name for name in figures if name.startswith(("contact_", "coordination_"))]
    names += [name for name in figures if name.startswith(("lifetime_", "stay_"))]
    names += [name for name in figures if name.startswith("departures_")]
    assert {name.split("_")[0] for name in names} >= {"contact", "stay", "departures"}
    assert np.isnan([figures[name].value for name in names]).all()


def test_lifetimes_are_of_runs_of_one_length(reference):
    """What a longer run has seen besides does not count as a longer life."""
    short = reference.first(60)
    found = comparison.compare(electrolyte(), reference, short, OPTIONS)
    assert found.figures["lifetime_cation-anion_log10_error"].value == 0.0


def test_halves_have_the_spacing_of_the_model(reference):
    """They stand beside a comparison that has it."""
    options = ComparisonOptions(shortest=2.0, longest=60.0, step=6.0)
    one, other = Comparison(electrolyte(), reference, reference, options).aligned
    assert one.time_step == other.time_step == 6.0


def test_numbers_of_neighbours_that_stay_have_the_error_of_beads():
    """Ions that rest keep their neighbours: time tells nothing, they themselves do."""
    rest = walk(1, n_frames=40, speed=1e-8)
    figures = comparison.compare(electrolyte(), rest, rest, OPTIONS).figures
    assert figures["coordination_cation-anion_reference"].error > 0.0


def test_a_faster_run_is_measured(reference):
    fast = Run(reference.positions, 1.0)  # the same path in half the time
    options = ComparisonOptions(2.0, 40.0, quantile=0.02, window=(10.0, 40.0))
    result = comparison.compare(electrolyte(), reference, fast, options)
    for name in ("cation", "anion", "polymer"):
        error = result.figures[f"log10_d_{name}_error"]
        assert abs(error.value - np.log10(2.0)) < 4.0 * error.error
        assert result.figures[f"msd_{name}_deviation"].value > 0.25
        fits = result.once(displacement.fits)[name]
        assert [fit.window for fit in fits] == [(10.0, 40.0)] * 2
    assert result.figures["lifetime_cation-anion_log10_error"].value < -0.1
    assert result.figures["rdf_cation-anion_deviation"].value < 1e-9


def test_displacements_do_not_mind_the_spacing(reference):
    thin = reference.every(3)
    result = comparison.compare(electrolyte(), reference, thin, OPTIONS)
    for name in ("cation", "anion"):
        deviation = result.figures[f"msd_{name}_deviation"]
        assert deviation.value < 0.06
        assert deviation.value < 3.0 * deviation.error
    stay, _ = result.once(residence.stays)["cation-anion"][1]
    assert stay is not None
    lags = stay.lags
    np.testing.assert_allclose(np.diff(lags), 6.0)


def test_a_collapsing_run_collides(reference):
    shrink = np.linspace(1.0, 0.3, 150)[:, None, None]
    cell = structure.check_runs(reference.positions)
    inside = cell - np.floor(cell @ np.linalg.inv(BOX)) @ BOX
    result = comparison.compare(
        electrolyte(), reference, Run(inside * shrink, 2.0), options=OPTIONS
    )
    assert result.figures["collisions_ratio"].value > 3.0
    end = result.figures["collisions_end_ratio"]
    assert end.value > result.figures["collisions_ratio"].value
    assert np.diff(result.once(collisions.pieces)[1][[0, 5, 9]]).min() > 0.0
    assert result.figures["rdf_cation-anion_deviation"].value > 0.3


def test_pairs_that_never_meet_are_left_out(reference):
    item = electrolyte()
    far = reference.positions.copy()
    far[:, :] = far[:, :1]  # frozen
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[:N_BEADS]
    far[:] = grid * 1.0
    stay, number = residence.contacts(item, Run(far, 2.0), "cation-anion", 0.5)
    assert stay is None
    assert number.value == 0.0


def test_conductivity_of_free_ions(reference):
    item = electrolyte()
    curves = curves_of(reference, 20.0)
    fits = {
        name: transport.diffusivity(curve, window=(4.0, 20.0))
        for name, curve in curves.items()
    }
    figures = conduct(item, reference, fits, 20.0)

    d_sum = 6 * (fits["cation"].value + fits["anion"].value)
    expected = SIEMENS_PER_METRE * d_sum / 27.0
    assert figures["conductivity_self"].value == pytest.approx(expected)
    whole = figures["conductivity_collective"]
    assert abs(whole.value - expected) < 4.0 * whole.error
    shares = [figures[f"transference_{name}"].value for name in ("cation", "anion")]
    assert sum(shares) == pytest.approx(1.0)
    assert conduct(electrolyte(is_charged=False), reference, fits, 20.0) == {}


def several() -> list[Comparison]:
    return [
        comparison.compare(
            electrolyte(f"box {k}"), walk(k), walk(k + 10), options=OPTIONS
        )
        for k in range(3)
    ]


def test_summary_is_made_of_the_boxes():
    boxes = several()
    summary = comparison.summarise(boxes, 0)
    errors = [abs(item.figures["log10_d_anion_error"].value) for item in boxes]
    assert summary["log10_d_anion_error"].value == pytest.approx(np.mean(errors))
    assert 0.0 < summary["log10_d_anion_error"].error < np.ptp(errors)
    ratios = column(boxes, "collisions_ratio")[:, 0]
    assert summary["collisions_ratio"].value == pytest.approx(ratios.mean())
    for item in boxes:
        for name in ("log10_d_cation_error", "log10_d_polymer_error"):
            estimate = item.figures[name]
            assert abs(estimate.value) < 4.0 * estimate.error
    assert np.isnan(
        comparison.summarise(boxes[:1], 0)["rdf_cation-anion_deviation"].error
    )


def test_beads_of_chains_that_move_as_one_move_as_their_centres(same):
    both = same.once(segments.curves)
    assert set(both) == {"polymer_beads", "polymer_inner_beads"}
    centre, _ = same.once(displacement.curves)["polymer"]
    inner, _ = both["polymer_inner_beads"]
    beads, _ = both["polymer_beads"]
    np.testing.assert_allclose(beads.values, centre.values, rtol=1e-9)
    np.testing.assert_allclose(inner.values, centre.values, rtol=1e-9)
    np.testing.assert_allclose(beads.errors, centre.errors, rtol=1e-6)


def test_ions_are_followed_on_chains(same, reference):
    """Free walkers: what is left after some time is chance; a fast one leaves more."""
    assert attachment.parts(same.subject) == ["cation-polymer", "anion-polymer"]
    slow, fast = (
        attachment.attachment(same.subject, run, "cation-polymer", 0.8)
        for run in (walk(4, speed=0.05), reference)
    )
    assert slow.stay.values[50] > fast.stay.values[50]
    assert fast.departures.value > 2.0 * slow.departures.value > 0.0
    with pytest.raises(ValueError, match="single beads and molecules of many"):
        attachment.attachment(same.subject, reference, "cation-anion", 0.8)


def test_chains_are_measured_in_a_species_with_single_beads_too(same, reference):
    """As --species '*=all' has it: what is said of them does not change."""
    item = electrolyte()
    every, ions = np.arange(len(item.masses)), item.species["cation"]
    words = ("rg2_polymer_", "end2_polymer_", "end_time_polymer_", "msd_polymer_")
    names = [name for name in same.figures if name.startswith(words)]
    names = [name for name in names if name != "msd_polymer_deviation"]  # of centres
    assert len(names) == 11
    stays = [name for name in same.figures if name.startswith("stay_cation-polymer")]
    assert len(stays) == 6
    for species, known in (
        ({"all": every}, names),
        ({"cation": ions, "rest": np.setdiff1d(every, ions)}, names + stays),
    ):
        merged = replace(item, species=species)
        found = comparison.compare(merged, reference, reference, options=OPTIONS)
        for name in known:
            own = name.replace("polymer", next(reversed(species)))
            np.testing.assert_allclose(found.figures[own], same.figures[name])


def test_stays_are_judged_at_lags_of_at_most_half_a_run(same):
    figures = same.figures
    assert 0.0 < figures["stay_cation-polymer_100ps_reference"].value <= 1.0
    assert np.isnan(figures["stay_cation-polymer_1000ps_reference"].value)
