import json
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec

from cgml.dynamics.propagator import Propagator
from cgml.models.file import (
    ModelFileError,
    bundled_models,
    load_model,
    read_spec,
    save_model,
)
from cgml.network.model import LearnedModel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def eager() -> LearnedModel:
    return learned(small_spec())


@pytest.fixture(scope="module")
def saved(eager, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "small.pt"
    save_model(path, eager.spec, eager.module)
    return path


def path_of(model: LearnedModel, n_steps: int = 4) -> tuple[torch.Tensor, np.ndarray]:
    """Return some steps of two systems, and the radii at the end."""
    mappings = [chain(), mixture()]
    propagator = Propagator(model, mappings, seed=1)
    state = propagator.start(np.concatenate([coil(item) for item in mappings]))
    frames = []
    for _ in range(n_steps):
        state = propagator.step(state)
        frames.append(state.positions)
    return torch.stack(frames), propagator.radius_of_gyration(state)


@pytest.mark.parametrize(
    "network",
    [{}, {"n_vectors": 4}, {"atom_places": True}, {"n_vectors": 4, "chiral": True}],
    ids=str,
)
def test_eager_and_loaded_give_the_same_bits(network, tmp_path):
    """The program in the file is for others: see tests/workflows/test_program.py."""
    eager = learned(small_spec(network=network))
    saved = tmp_path / "model.pt"
    save_model(saved, eager.spec, eager.module)
    frames, radii = path_of(eager)
    found, radii_found = path_of(load_model(saved))
    assert torch.equal(found, frames)
    np.testing.assert_array_equal(radii_found, radii)


def test_a_file_of_format_1_gives_what_it_gave():
    """Written, and ten steps made of it, by the release before programs had steps."""
    data = Path(__file__).parents[1] / "data"
    model = load_model(data / "format1.pt")
    with np.load(data / "format1.npz") as expected:
        frames, radii = path_of(model, len(expected["frames"]))
        np.testing.assert_allclose(frames, expected["frames"], rtol=0.0, atol=1e-5)
        np.testing.assert_allclose(radii, expected["radii"], rtol=0.0, atol=1e-5)


def test_the_spec_travels_with_the_weights(eager, saved):
    assert read_spec(saved) == eager.spec
    assert load_model(saved).spec == eager.spec


def test_a_loaded_model_is_for_running(saved):
    module = load_model(str(saved)).module
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_saving_leaves_nothing_beside(saved):
    assert [item.name for item in saved.parent.iterdir()] == ["small.pt"]


def test_a_file_does_not_say_where_it_was_written(saved):
    for path in (saved, *bundled_models().values()):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                assert not name.endswith("debug_pkl")
                assert b"/cgml/models/" not in archive.read(name), name


def test_a_failed_save_leaves_the_earlier_file(eager, saved, tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    path.write_bytes(saved.read_bytes())

    write = zipfile.ZipFile.writestr

    def fill(archive, entry, *rest):
        if entry.filename.endswith("spec.json"):
            raise OSError(28, os.strerror(28))
        write(archive, entry, *rest)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fill)
    with pytest.raises(OSError, match="no space left to write"):
        save_model(path, eager.spec, eager.module)
    assert path.read_bytes() == saved.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_running_needs_no_training_code(saved):
    """In a process of its own: load, and look at what was imported."""
    code = """
import sys
from cgml.models.file import load_model
from cgml.dynamics.propagator import Propagator
model = load_model(sys.argv[1])
heavy = ("lightning", "cgml.training.fit", "openmm", "ase", "matplotlib")
print(model.spec.name, [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(saved)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "small []\n", done.stderr


# --- files that are refused


def with_spec(source: Path, path: Path, change) -> Path:
    """Copy a model file, its spec.json changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("extra/spec.json"):
                content = change(content.decode()).encode()
            new.writestr(item.filename, content)
    return path


def edited(**changes: object):
    return lambda text: json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize("model", ["no-such-model", "folder/none.pt", "."])
def test_a_missing_file(model):
    message = (
        rf"no model file at '{re.escape(model)}' and no bundled model of that name "
        r"\(bundled: .*\): check the path"
    )
    with pytest.raises(ModelFileError, match=message):
        load_model(model)


def test_bundled_models_are_found_by_name(saved, monkeypatch):
    monkeypatch.setattr("cgml.models.metadata.bundled_models", lambda: {"nice": saved})
    assert load_model("nice").spec.name == "small"
    with pytest.raises(ModelFileError, match=r"\(bundled: nice\)"):
        load_model("other")


def test_every_bundled_model_can_be_loaded():
    for name, path in bundled_models().items():
        assert load_model(name).spec == read_spec(path)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 0.999])
def test_a_truncated_file(saved, tmp_path, share):
    path = tmp_path / "model.pt"
    content = saved.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = (
        f"^{re.escape(str(path))} is truncated or not an archive of torch.*expected"
    )
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_a_file_with_damaged_networks(saved, tmp_path):
    path = tmp_path / "model.pt"
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        code = next(i for i in archive.infolist() if i.filename.endswith("/data.pkl"))
    start = code.header_offset + 300
    content[start : start + 64] = bytes(64)
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match="is damaged: the checksum of entry 'arch"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"not a model\n", b"PK\x03\x04 nor a zip"])
def test_a_foreign_file(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="truncated or not an archive of torch"):
        load_model(path)


def test_a_foreign_archive(tmp_path):
    """Zip files of others: any, and weights as torch saves them."""
    plain, weights = tmp_path / "plain.zip", tmp_path / "weights.pt"
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("readme.txt", "hello")
    torch.save({"weight": torch.zeros(3)}, weights)
    for path in (plain, weights):
        with pytest.raises(ModelFileError, match="is not a cgml model file: expected"):
            load_model(path)


def test_an_archive_with_a_spec_alone(saved, tmp_path):
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        name = next(n for n in old.namelist() if n.endswith("extra/spec.json"))
        new.writestr(name, old.read(name))
    with pytest.raises(ModelFileError, match=r"there is no data.pkl in it; expected"):
        load_model(path)


def test_networks_of_another_program(eager, tmp_path):
    """TorchScript with our spec but not our networks."""
    path = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(
            torch.jit.script(torch.nn.Linear(2, 2)),
            str(path),
            _extra_files={"spec.json": eager.spec.model_dump_json()},
        )
    with pytest.raises(
        ModelFileError, match=r"holds other networks than its spec.json says \(no emb"
    ):
        load_model(path)


def test_a_device_that_is_not_there(saved):
    with pytest.raises(ValueError, match="the device 'mps' cannot be used"):
        load_model(saved, device="mps")


def test_loading_draws_no_random_numbers(saved):
    before = torch.random.get_rng_state()
    load_model(saved)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_newer_format(saved, tmp_path):
    path = with_spec(saved, tmp_path / "model.pt", edited(format=2, more="new keys"))
    message = (
        r"has model format 2, this version of cgml reads up to 1: install a newer cgml"
    )
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited(format="one"), r"has model format 'one'"),
        (edited(format=0), r"has an invalid spec.json: .*format"),
        (edited(time_step=-1.0), r"has an invalid spec.json: .*time_step"),
        (edited(unheard_of=1), r"has an invalid spec.json: .*unheard_of"),
        (lambda text: "{}", r"has an unreadable spec.json"),
        (lambda text: "[1]", r"has an unreadable spec.json"),
        (lambda text: text[:100], r"has an unreadable spec.json"),
    ],
)
def test_an_invalid_spec(saved, tmp_path, change, message):
    path = with_spec(saved, tmp_path / "model.pt", change)
    with pytest.raises(ModelFileError, match=rf"^{re.escape(str(path))} {message}"):
        load_model(path)


# --- files that want to run something


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_trap_would_spring(tmp_path):
    """The next test can fail: this is how pickles run code."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").is_dir()


@pytest.mark.parametrize("kind", ["pickle", "torch", "model"])
def test_no_file_runs_code(saved, tmp_path, kind):
    sprung, path = tmp_path / "sprung", tmp_path / "model.pt"
    trap = pickle.dumps(Trap(sprung), protocol=2)
    if kind == "pickle":
        path.write_bytes(trap)
    elif kind == "torch":
        torch.save(Trap(sprung), path)
    else:  # our own file, its pickle replaced
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
            for item in old.infolist():
                is_pickle = item.filename.endswith(".pkl")
                new.writestr(item.filename, trap if is_pickle else old.read(item))
    with pytest.raises(ModelFileError):
        load_model(path)
    assert not sprung.exists()
