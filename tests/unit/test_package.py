"""What is said of the package in several places is the same."""

import re
import tomllib
from pathlib import Path

import yaml

import cgml

ROOT = Path(__file__).parents[2]
OTHER_NAMES = {"torch": "pytorch", "freud-analysis": "freud"}
OTHER_NAMES |= {"matplotlib": "matplotlib-base"}


def test_the_recipe_has_the_dependencies_of_the_package():
    text = (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    assert f'{{% set version = "{cgml.__version__}" %}}' in text
    plain = re.sub(r"\{%.*?%\}", "", text).replace("{{ version }}", "0")
    recipe = yaml.safe_load(plain.replace("{{ PYTHON }}", "python"))
    found = dict(item.partition(" ")[::2] for item in recipe["requirements"]["run"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
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


def test_every_dependency_says_what_it_is_for():
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for item in project["dependencies"]:
        name = re.match(r"[\w-]+", item)[0]
        assert re.search(rf"[| ,]{name}[ ,|]", page), name
    for extra in project["optional-dependencies"]:
        assert f"`{extra}`" in page, extra
