"""What the documentation site is made of; `make docs` builds it, warnings as errors."""

import importlib
import re
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest
import typer
from workflow_tools import ROOT

import ase_cgml
import cgml
import openmm_cgml
from cgml.cli import console
from cgml.cli.answers import FIELDS
from cgml.cli.app import app
from cgml.training.keys import keys

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = spec_from_file_location("site_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_of_the_index_is_there(hooks):
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = re.findall(r"^ +- (?:.*: )?(\S+\.md)$", text, flags=re.MULTILINE)
    made = {*hooks.ELSEWHERE, hooks.COMMANDS}
    missing = [page for page in pages if not (DOCS / page).exists()]
    assert set(missing) == made & set(pages)
    assert made <= set(pages)
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert there <= set(pages)


def test_every_command_and_option_is_documented(hooks):
    page = hooks.commands()
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        section = page.partition(f"## cgml {name}\n")[2].partition("\n## ")[0]
        assert section
        assert all(f"| `{field}` | " in section for field in FIELDS[name]), name
        for item in command.params:
            names = (
                item.opts if item.param_type_name == "option" else [item.name.upper()]
            )
            assert all(f"`{word}`" in section for word in names), (name, names)
    for code in console.EXIT_CODES:
        assert f"| {code} | " in page


def test_every_key_of_a_training_file_is_documented(hooks):
    assert hooks.KEYS in (DOCS / "training.md").read_text(encoding="utf-8")
    table = hooks.keys_table()
    for key in keys():
        section = table
        if key.table:
            section = table.partition(f"### `[{key.table}]`")[2].partition("###")[0]
        assert f"| `{key.name}` | " in section, key.name


def test_every_public_name_is_in_the_reference():
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    paths = re.findall(r"^::: (\S+)$", page, flags=re.MULTILINE)
    for path in paths:
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name, None)
        assert found is not None or importlib.import_module(path), path
    there = {path.rpartition(".")[2] for path in paths}
    for package in (cgml, openmm_cgml, ase_cgml):
        names = getattr(package, "__all__", [n for n in dir(package) if n[0].isupper()])
        assert {name for name in names if name[0] != "_"} <= there, package.__name__


def test_dead_links_of_the_site_are_found(hooks, tmp_path):
    page = '<h2 id="a%20b">x</h2><a href="c.html#d">y</a> <img src="e.png">'
    page += '<a href="#a"> <a href="https://x.y/z"> <a href="/r">'
    (tmp_path / "b.html").write_text(page)
    (tmp_path / "c.html").write_text('<p id="d"></p><a href="b.html#no">z</a>')
    expected = ["b.html: #a", "b.html: e.png", "c.html: b.html#no"]
    assert sorted(hooks.dead_links(tmp_path)) == expected


def test_equations_are_set_wherever_they_stand(hooks, tmp_path):
    pytest.importorskip("latex2mathml")
    text = hooks.equations("```math\n\\tau^2\n```\nand $`k_B`$")
    page = "<p>.. math:: g = \\frac{a}{b}</p> is :math:<code>a &lt; b</code>"
    page = hooks.docstring_equations(text + page)
    assert page.count("<math") == 4
    (tmp_path / "set.html").write_text(page)
    assert hooks.left_over(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "<p>$$ x $$</p>",
        r"<p>$\tfrac12 k$</p>",
        ":math:<em>x</em>",
        "<p>a .. math:: x</p>",
        '<script src="https://unpkg.com/iframe-worker/shim"></script>',
    ],
)
def test_raw_equations_and_what_others_serve_are_refused(hooks, text, tmp_path):
    (tmp_path / "a.html").write_text(text)
    assert len(hooks.left_over(tmp_path)) > 0


def test_pages_have_equations_in_the_form_that_is_set(hooks):
    for path in [
        *DOCS.rglob("*.md"),
        *(ROOT / name for name in hooks.ELSEWHERE.values()),
    ]:
        text = hooks.MATH.sub("", path.read_text(encoding="utf-8"))
        text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
        assert not hooks.RAW.search(text), path


def test_links_become_those_of_the_site(hooks):
    there = {"types.md", "project/changes.md", "figures/chain.png", "README.md"}
    text = "[a](../types.md#x) [b](../../CHANGELOG.md) [c](../../examples) "
    text += "![](../figures/chain.png)"
    assert hooks.links(text, "tutorials/python.md", there) == (
        "[a](../types.md#x) [b](../project/changes.md) c (`examples`) "
        "![](../figures/chain.png)"
    )
    code = "```\n[a](b)\n```\n    [a](b)\n"
    assert hooks.links(code, "README.md", there) == code
