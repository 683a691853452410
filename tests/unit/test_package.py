"""What is said of the package in several places is the same."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import cgml

ROOT = Path(__file__).parents[2]
OTHER_NAMES = {"torch": "pytorch", "freud-analysis": "freud"}
OTHER_NAMES |= {"matplotlib": "matplotlib-base"}


RECIPE = (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")


@pytest.fixture
def recipe() -> dict[str, Any]:
    plain = re.sub(r"\{%.*?%\}", "", RECIPE).replace("{{ version }}", "0")
    return yaml.safe_load(plain.replace("{{ PYTHON }}", "python"))


@pytest.fixture
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_recipe_keeps_the_rules_of_conda_forge(recipe):
    """Those of its linter that need no address: of source, home and maintainers."""
    order = ["package", "source", "build", "requirements", "test", "about", "extra"]
    assert list(recipe) == order
    assert recipe["build"]["noarch"] == "python"
    assert isinstance(recipe["build"]["number"], int)
    assert "# [" not in RECIPE  # selectors, which a noarch package may not have
    assert {"license", "license_file", "summary"} <= set(recipe["about"])
    assert (ROOT / recipe["about"]["license_file"]).is_file()
    assert len(recipe["about"]["summary"]) < 80
    assert recipe["test"]["imports"]
    assert recipe["test"]["commands"]
    assert recipe["requirements"]["host"][0].startswith("python >=")
    for part in ("host", "run"):
        names = [item.partition(" ")[0] for item in recipe["requirements"][part]]
        assert len(set(names)) == len(names)
        form = r"[a-z\d.-]+( [<>=]+[\d.]+(,[<>=]+[\d.]+)*)?"
        for item in recipe["requirements"][part]:
            assert re.fullmatch(form, item), item
    assert RECIPE.endswith("\n")
    assert not RECIPE.endswith("\n\n")


def test_every_python_that_is_named_is_in_the_range(project):
    """Neither more nor less; the Makefile says the same, and takes a torch in range."""
    low, high = re.fullmatch(
        r">=3\.(\d+),<3\.(\d+)", project["requires-python"]
    ).groups()
    named = [
        int(found[1])
        for line in project["classifiers"]
        if (found := re.fullmatch(r".*Python :: 3\.(\d+)", line))
    ]
    assert named == list(range(int(low), int(high)))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"(3, {low}) <= sys.version_info[:2] < (3, {high})" in makefile
    build = re.search(r"torch==([\d.]+)", makefile)[1]
    (limits,) = (d for d in project["dependencies"] if d.startswith("torch>"))
    assert Version(build) in SpecifierSet(limits.removeprefix("torch"))


def test_the_recipe_has_the_dependencies_of_the_package(recipe, project):
    assert f'{{% set version = "{cgml.__version__}" %}}' in RECIPE
    found = dict(item.partition(" ")[::2] for item in recipe["requirements"]["run"])
    expected = {}
    for item in project["dependencies"]:
        name, limits = re.fullmatch(r"([\w-]+)(.*)", item).groups()
        expected[OTHER_NAMES.get(name, name)] = limits
    assert found.pop("python") == project["requires-python"]
    assert found == expected
    assert recipe["build"]["entry_points"] == [
        f"{name} = {place}" for name, place in project["scripts"].items()
    ]


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert str(citation["version"]) == cgml.__version__
    assert f"\n## [{cgml.__version__}] - {citation['date-released']}\n" in changes


def test_every_dependency_says_what_it_is_for(project):
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for item in project["dependencies"]:
        name = re.match(r"[\w-]+", item)[0]
        assert re.search(rf"[| ,]{name}[ ,|]", page), name
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in page, extra
