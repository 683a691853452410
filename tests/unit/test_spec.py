"""Numbers that make no sense are refused where they are read, by key and limits."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_systems import energetic, learned, small_spec
from graphwm_files import MELT, published_spec
from pydantic import ValidationError

from cgml.calibration import Calibration, LatentRange
from cgml.fields import faults
from cgml.models.conversion import Origin, describe
from cgml.models.file import (
    SPEC_FILE,
    ModelFileError,
    bundled_models,
    read_spec,
    save_model,
)
from cgml.published.spec import HyperParameters, PublishedSpec
from cgml.ranges import LIMITS, positive
from cgml.spec import BaseSpec, ModelSpec
from cgml.texts import short

KEYS = {
    ("time_step",): "ps",
    ("temperature",): "K",
    ("friction",): "1/ps",
    ("cutoff",): "nm",
    ("particle_types", "A"): "Da",
    ("atoms_per_bead",): "",
    ("statistics", "length_scale"): "nm",
    ("statistics", "displacement_scale"): "nm",
    ("statistics", "max_displacement"): "nm",
    ("statistics", "mean_degree"): "",
    ("prior", "rate"): "",
    ("prior", "variance"): "",
    ("refinement", "step_size"): "",
    ("refinement", "rho"): "",
}


def changed(spec: BaseSpec, keys: tuple[Any, ...], value: float) -> dict[str, Any]:
    section = content = json.loads(spec.model_dump_json())
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    return content


@pytest.mark.parametrize("value", [5e-324, 1e-200, 1e-13, 1e13, 1e200, 1e308])
@pytest.mark.parametrize(("keys", "unit"), KEYS.items())
def test_absurd_numbers_are_refused_by_key(keys, unit, value):
    with pytest.raises(ValidationError) as caught:
        ModelSpec.model_validate(changed(small_spec(), keys, value))
    least, largest = LIMITS[unit]
    text = f"{'.'.join(keys)} must be {least:g} to {largest:g} {unit}".rstrip()
    assert f"{text}, got {short(value)}" in faults(caught.value)
    assert "\n" not in faults(caught.value)


def places(content: Any, *keys: Any) -> Iterator[tuple[Any, ...]]:
    """Yield where numbers stand in JSON."""
    if isinstance(content, dict | list):
        is_table = isinstance(content, dict)
        for key, inner in content.items() if is_table else enumerate(content):
            yield from places(inner, *keys, key)
    elif type(content) in {int, float}:
        yield keys


def full() -> ModelSpec:
    """Return the spec of a bundled model, with all that a spec may have."""
    spec = read_spec(bundled_models()["peo-litfsi"])
    n = spec.network.n_node
    latent = LatentRange(mean=[0.0] * n, axes=[[0.0] * n], variances=[1.0], rest=1.0)
    potential = energetic().spec.potential.model_copy(update={"radial_centres": (1, 2)})
    more = {
        "calibration": Calibration(n_molecules=1, typical=1, largest=2, latent=latent),
        "potential": potential.model_copy(update={"weights": {"a": [1]}}),
    }
    return spec.model_copy(update=more)


@pytest.mark.parametrize(
    "make", [full, lambda: published_spec(MELT, 1.0, periodic=True)]
)
def test_true_is_no_number(make):
    """Python takes it for 1."""
    spec = make()
    found = list(places(json.loads(spec.model_dump_json())))
    found.remove(("format",))  # a literal, of one value
    assert len(found) > 25
    for keys in found:
        with pytest.raises(ValidationError) as caught:
            type(spec).model_validate(changed(spec, keys, True))
        place = ".".join(map(str, keys))
        assert faults(caught.value) == f"{place} must be a number, got True"


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize(("keys", "unit"), KEYS.items())
def test_the_ends_of_what_makes_sense_are_taken(keys, unit, end):
    ModelSpec.model_validate(changed(small_spec(), keys, LIMITS[unit][end]))


def test_squares_of_all_that_makes_sense_are_finite_in_single_precision():
    for limits in LIMITS.values():
        squares = np.square(np.array(limits, dtype=np.float32))
        assert np.isfinite(squares).all()
        assert (squares >= np.finfo(np.float32).tiny).all()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("time_step",), 1e308),
        (("length_unit",), 1e-300),
        (("particle_types", "H"), 5e-324),
        (("parameters", "radius"), 1e300),
        (("parameters", "sigma_end"), 1e-300),
        (("parameters", "step_size"), 1e300),
        (("parameters", "min_std"), 1e300),
        (("parameters", "dilation"), 10**400),
    ],
)
def test_published_specs_as_well(keys, value):
    spec = published_spec(MELT, 0.1, periodic=True)
    with pytest.raises(ValidationError) as caught:
        PublishedSpec.model_validate(changed(spec, keys, value))
    assert ".".join(keys) in faults(caught.value)


def test_a_model_file_says_so_in_one_line(tmp_path: Path):
    model = learned(small_spec())
    save_model(tmp_path / "a.pt", model.spec, model.module)
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w") as new,
    ):
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith(SPEC_FILE):
                spec = json.loads(content) | {"time_step": 1e308}
                content = json.dumps(spec).encode()
            new.writestr(info.filename, content)
    with pytest.raises(ModelFileError) as caught:
        read_spec(tmp_path / "b.pt")
    text = str(caught.value)
    assert "time_step must be 1e-09 to 1e+12 ps, got 1e+308: export it anew" in text
    assert "\n" not in text


def test_what_users_say_of_a_checkpoint_makes_sense():
    with pytest.raises(ValueError, match=r"the temperature must be 0\.001 to 1e\+06 K"):
        Origin(1.0, 1e300, periodic=True)
    with pytest.raises(ValueError, match="the frame spacing must be 1e-09 to"):
        Origin(5e-324, 300.0, periodic=True)
    parameters = HyperParameters.model_validate(MELT | {"dilation": 10**8})
    origin = Origin(1e9, 300.0, periodic=True, name="a")
    with pytest.raises(ValueError, match="can say this: time_step must be") as caught:
        describe(parameters, 6, origin, {})
    assert "\n" not in str(caught.value)


def test_positive_knows_the_units():
    assert positive(1e12, "a", "ps") == 1e12
    assert positive(1e30, "a number of no unit") == 1e30
    with pytest.raises(ValueError, match=r"a must be 1e-06 to 1e\+06 nm, got 1e\+30"):
        positive(1e30, "a", "nm")
