import pytest

from cgml import machine, plans


def test_changes_are_named_with_the_tables_they_stand_in():
    found = {"seed": 0, "net": {"n": 4, "kind": None}, "files": ["a 1", "b 2"]}
    asked = {"seed": 0, "net": {"n": 4, "size": 1}, "files": ["a 1", "b 3", "c 4"]}
    assert plans.changes(found, asked) == {
        "net.kind": (None, "nothing"),
        "files[1]": ("b 2", "b 3"),
        "net.size": ("nothing", 1),
        "files[2]": ("nothing", "c 4"),
    }
    assert not plans.changes(found, dict(reversed(found.items())))
    assert not plans.changes({"pair": (1, 2.0)}, {"pair": [1, 2.0]})


def test_changes_are_one_line():
    many = plans.describe({f"key{n}": (n, "x" * 99) for n in range(25)})
    assert many.startswith("key0 0, asked for is xxx")
    assert many.endswith("...; and 5 more")


def test_a_plan_comes_back(tmp_path):
    content = {"plan": {"seed": 1, "time": 0.1}, "guards": None}
    plans.write_plan(tmp_path / "run.json", content)
    assert plans.read_plan(tmp_path / "run.json") == content


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"plan": 1}', '{"plan": {}', "\x00", "[" * 100_000, "1" * 5000],
)
def test_a_file_without_a_plan_is_named(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path} is damaged \(") as caught:
        plans.read_plan(path)
    assert "\n" not in str(caught.value)


def test_files_are_known_by_name_and_content(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    one, other = plans.files_of([tmp_path / "a", tmp_path / "b"])
    assert one != other
    assert one.split()[1] == other.split()[1] == plans.digest(tmp_path / "a")[:32]


def test_a_machine_has_a_kind():
    kind = machine.kind()
    assert set(kind) == {"cgml", "torch", "processor"}
    assert all(kind.values())
