"""Published checkpoints: reading them safely."""

import io
import os
import pickle
import random
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from graphwm_files import CHAIN, MELT, hyper_parameters, random_weights, write

from cgml.published.checkpoint import CheckpointError, build_model, read_checkpoint
from cgml.published.spec import HyperParameters


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make classes of libraries that are not installed, for the time of a test."""

    def make(path: str) -> Any:
        module, name = path.rsplit(".", 1)
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            place = ".".join(parts[:end])
            if place not in sys.modules:
                monkeypatch.setitem(sys.modules, place, types.ModuleType(place))
        made = type(name, (), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], name, made, raising=False)
        return made

    return make


@pytest.fixture
def configured(foreign):
    """Wrap plain values as omegaconf does: containers, nodes, metadata, parents."""
    holders = {
        dict: foreign("omegaconf.dictconfig.DictConfig"),
        list: foreign("omegaconf.listconfig.ListConfig"),
    }
    node, metadata = (
        foreign("omegaconf.nodes.AnyNode"),
        foreign("omegaconf.base.Metadata"),
    )

    def wrap(value: Any, parent: Any = None) -> Any:
        made = holders.get(type(value), node)()
        about = metadata()
        about.__dict__.update(ref_type=Any, object_type=dict, flags={})
        made.__dict__.update(_metadata=about, _parent=parent)
        if isinstance(value, dict):
            made._content = {key: wrap(item, made) for key, item in value.items()}
        elif isinstance(value, list):
            made._content = [wrap(item, made) for item in value]
        else:
            made._val = value
        return made

    return wrap


class Evil:
    """Pickles to a call of any function, with state and items if given."""

    def __init__(self, function: Any, *arguments: Any, more: Any = ()) -> None:
        self.call = function, arguments, *more

    def __reduce__(self) -> Any:
        return self.call


def contents(**changes: Any) -> dict[str, Any]:
    """Return what a small, sound file holds."""
    parameters = hyper_parameters(CHAIN)
    return {
        "epoch": 3,
        "state_dict": random_weights(parameters),
        "hyper_parameters": parameters,
        **changes,
    }


def test_hyper_parameters_and_weights_are_read(tmp_path):
    content = contents()
    checkpoint = read_checkpoint(write(tmp_path / "a.ckpt", content))
    found = checkpoint.parameters.model_dump()
    expected = content["hyper_parameters"]
    assert {key: found[key] for key in expected if key in found} == {
        key: value for key, value in expected.items() if key in found
    }
    assert checkpoint.weights.keys() == content["state_dict"].keys()
    for name, tensor in content["state_dict"].items():
        assert torch.equal(checkpoint.weights[name], tensor)


def test_omegaconf_is_not_needed_to_read_its_containers(tmp_path, configured):
    plain = hyper_parameters(MELT)
    sections = {k: configured(v) for k, v in plain.items() if isinstance(v, dict)}
    extra = {"optim": configured({"betas": [0.9, 0.99], "nested": {"a": None}})}
    content = contents(
        hyper_parameters=plain | sections | extra, state_dict=random_weights(plain)
    )
    path = write(tmp_path / "a.ckpt", content)
    for name in [name for name in sys.modules if name.startswith("omegaconf")]:
        del sys.modules[name]
    found = read_checkpoint(path)
    assert (
        found.parameters.dynamics_gn_hparams.model_dump()
        == (plain["dynamics_gn_hparams"])
    )
    assert not [name for name in sys.modules if name.startswith("omegaconf")]


def test_hyper_parameters_may_be_a_container_as_a_whole(tmp_path, configured):
    content = contents(hyper_parameters=configured(hyper_parameters(CHAIN)))
    found = read_checkpoint(write(tmp_path / "a.ckpt", content))
    assert found.parameters.seq_len == CHAIN["seq_len"]


def test_training_state_is_passed_over(tmp_path, foreign):
    callback = foreign("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")
    moments = {"step": 3, "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
    group = {"lr": 1e-4, "betas": (0.9, 0.999), "amsgrad": False, "params": [0]}
    content = contents(
        optimizer_states=[{"state": {0: moments}, "param_groups": [group]}],
        callbacks={callback: {"best_model_score": torch.ones(())}},
        loops={"fit_loop": {"state_dict": OrderedDict(done=True)}},
        lr_schedulers=[{"milestones": [1, 2], "base_lrs": (1e-4,)}],
    )
    assert read_checkpoint(write(tmp_path / "a.ckpt", content)).weights


@pytest.mark.parametrize("place", ["hyper_parameters", "nested", "weights", "other"])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, r"(posix|nt)\.system"),
        (eval, r"builtins\.eval"),
        (getattr, r"builtins\.getattr"),
        (Path, r"pathlib\.Path"),
        (bytearray, r"builtins\.bytearray"),
        (torch.device, r"torch\.device"),
    ],
)
def test_a_function_in_the_file_is_refused_by_name(tmp_path, place, function, name):
    mark = tmp_path / "mark"
    text = {os.system: f"touch {mark}", eval: f"open({str(mark)!r}, 'w')"}
    evil: Any = Evil(function, text.get(function, str(mark)))
    content = contents()
    if place == "weights":
        content["state_dict"]["type_embedding.weight"] = evil
    elif place == "other":
        content["callbacks"] = [evil]
    elif place == "nested":
        content["hyper_parameters"]["optim"] = {"betas": [0.9, {"x": evil}]}
    else:
        content["hyper_parameters"]["seq_len"] = evil
    path = write(tmp_path / "a.ckpt", content)
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_name_made_on_the_stack_is_refused(tmp_path):
    """Protocol 4 spells class names as texts; a plain pickle of ours uses it."""
    mark = tmp_path / "mark"
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        pickled = pickle.dumps({"a": Evil(os.system, f"touch {mark}")}, protocol=4)
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", "3\n")
    with pytest.raises(CheckpointError, match=r"(posix|nt)\.system"):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_container_that_hides_a_function_is_refused(tmp_path, configured):
    mark = tmp_path / "mark"
    hidden = configured({"units": 8})
    hidden._content["units"]._val = Evil(os.system, f"touch {mark}")
    content = contents()
    content["hyper_parameters"]["dynamics_gn_hparams"] = hidden
    with pytest.raises(CheckpointError, match="system"):
        read_checkpoint(write(tmp_path / "a.ckpt", content))
    assert not mark.exists()


@pytest.mark.parametrize("state", ["text", {"_content": "text"}, {"_val": 1}, {}])
def test_a_container_with_a_foreign_state_is_refused(tmp_path, foreign, state):
    """Allowed classes given what they never hold; the stand-in only keeps it."""
    holder = foreign("omegaconf.dictconfig.DictConfig")
    holder.__reduce__ = lambda _: (holder, ("called with", "arguments"), state)
    content = contents()
    content["hyper_parameters"]["dynamics_gn_hparams"] = holder()
    with pytest.raises(CheckpointError, match="dynamics_gn_hparams"):
        read_checkpoint(write(tmp_path / "a.ckpt", content))


def test_a_container_inside_itself_is_refused(tmp_path, configured):
    round_trip = configured({"units": 8})
    round_trip._content["units"] = round_trip
    content = contents()
    content["hyper_parameters"]["dynamics_gn_hparams"] = round_trip
    with pytest.raises(CheckpointError, match="levels deep"):
        read_checkpoint(write(tmp_path / "a.ckpt", content))


def test_an_attribute_that_shadows_a_method_changes_nothing(tmp_path):
    content = contents()
    sound = dict(content["state_dict"])
    shadows = {"items": "no method", "keys": []}
    content["state_dict"] = Evil(OrderedDict, more=(shadows, None, iter(sound.items())))
    found = read_checkpoint(write(tmp_path / "a.ckpt", content))
    assert found.weights.keys() == sound.keys()


def test_a_callback_among_the_weights_is_refused_by_name(tmp_path, foreign):
    content = contents()
    content["state_dict"]["more"] = foreign("pytorch_lightning.Callback")()
    with pytest.raises(CheckpointError, match=r"more.*pytorch_lightning\.Callback"):
        read_checkpoint(write(tmp_path / "a.ckpt", content))


def test_a_tensor_larger_than_its_numbers_is_refused(tmp_path):
    shape = (torch.ones(2)._typed_storage(), 0, (4, 4), (4, 1), False, OrderedDict())
    content = contents()
    content["state_dict"]["more"] = Evil(torch._utils._rebuild_tensor_v2, *shape)
    with pytest.raises(CheckpointError, match=r"shape \(4, 4\) in a storage of 2"):
        read_checkpoint(write(tmp_path / "a.ckpt", content))


def test_foreign_and_truncated_files_are_refused(tmp_path):
    whole = write(tmp_path / "whole.ckpt", contents()).read_bytes()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as other:
        other.writestr("hello.txt", "hello")
    rows = {
        "truncated or not": whole[: len(whole) // 2],
        "truncated": b"\x80\x02}q\x00.",
        "one folder must|no data.pkl": archive.getvalue(),
    }
    for text, stream in rows.items():
        path = tmp_path / "broken.ckpt"
        path.write_bytes(stream)
        with pytest.raises(CheckpointError, match=text):
            read_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "absent.ckpt")
    with pytest.raises(CheckpointError, match="must be a regular file"):
        read_checkpoint(tmp_path)


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    rows = {
        "must hold a dictionary, got list": [1, 2],
        "no state_dict and hyper_parameters": {"model": torch.ones(2)},
        "hyper_parameters as a dictionary, got list": contents(hyper_parameters=[]),
        "must hold state_dict, got list": contents(state_dict=[]),
        r"state_dict\['a'\] must be a tensor, got int": contents(state_dict={"a": 1}),
        "not finite in a,": contents(state_dict={"a": torch.tensor([torch.nan])}),
        "in a, or above 1e": contents(state_dict={"a": torch.tensor([-1e30])}),
    }
    for text, content in rows.items():
        with pytest.raises(CheckpointError, match=text):
            read_checkpoint(write(tmp_path / "a.ckpt", content))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "other"}, "name.*'gns' or 'pnr'.*got 'other'"),
        ({"seq_len": 1}, "seq_len.*got 1"),
        ({"radius": float("inf")}, "radius.*got inf"),
        ({"use_weights": None}, "use_weights.*got None"),
        ({"name": "pnr", "score_gn_hparams": False}, "needs score_gn_hparams"),
        ({"dynamics_gn_hparams": {"latent_dim": 8}}, "dynamics_gn_hparams.units"),
        ({"min_std": torch.ones(1)}, "min_std must be plain.*got Tensor"),
        ({"num_ptypes": 10**9}, "num_ptypes.*got 1000000000"),
        ({"radius": "x" * 10**6}, r"radius.*got 'x{59}\.\.\.$"),
        ({"embedding_gn_hparams": 5, "seq_len": 0}, "seq_len.*; embedding_gn_hparams"),
    ],
)
def test_hyper_parameters_of_another_kind_are_refused(tmp_path, changes, text):
    content = contents(hyper_parameters=hyper_parameters(CHAIN) | changes)
    with pytest.raises(CheckpointError, match=text):
        read_checkpoint(write(tmp_path / "a.ckpt", content))


@pytest.mark.parametrize("key", ["latent_dim", "units", "layers", "mp_steps"])
def test_sizes_that_cannot_be_are_refused_before_they_are_built(tmp_path, key):
    sizes = CHAIN["dynamics_gn_hparams"] | {key: 10**7}
    content = contents(
        hyper_parameters=hyper_parameters(CHAIN) | {"dynamics_gn_hparams": sizes}
    )
    with pytest.raises(CheckpointError, match=rf"{key} .*got 10000000"):
        read_checkpoint(write(tmp_path / "a.ckpt", content))
    wide = CHAIN["dynamics_gn_hparams"] | {"latent_dim": 20_000, "units": 20_000}
    content = contents(
        hyper_parameters=hyper_parameters(CHAIN) | {"dynamics_gn_hparams": wide}
    )
    with pytest.raises(CheckpointError, match=r" of shape \(20000, "):
        read_checkpoint(write(tmp_path / "a.ckpt", content))  # 20 GB, were it built


def test_a_great_many_values_in_few_words_are_refused(tmp_path):
    """Lists of one list many times: four levels of a thousand are 10^12 values."""
    value: Any = 1
    for _ in range(4):
        value = [value] * 1000
    content = contents(hyper_parameters=hyper_parameters(CHAIN) | {"radius": value})
    with pytest.raises(CheckpointError, match=r"radius.* more than 1000 values"):
        read_checkpoint(write(tmp_path / "a.ckpt", content))


def test_sixty_mutants_are_all_refused_in_one_line(tmp_path):
    whole = write(tmp_path / "whole.ckpt", contents()).read_bytes()
    draw, path = random.Random(3), tmp_path / "a.ckpt"
    for number in range(60):
        mutant = bytearray(whole)
        at = draw.randrange(len(whole))
        if number % 6 == 5:
            del mutant[at : at + draw.randrange(1, 1000)]
        elif number % 6 == 4:
            mutant[at : at + 64] = draw.randbytes(64)
        else:
            mutant[at] ^= 1 << draw.randrange(8)
        path.write_bytes(mutant)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    def build(weights: dict[str, torch.Tensor]) -> None:
        content = contents(state_dict=weights)
        build_model(read_checkpoint(write(tmp_path / "a.ckpt", content)), 1.0)

    sound = contents()["state_dict"]
    build(sound)
    name = "dynamics_gn._decode.0.weight"
    with pytest.raises(CheckpointError, match=f"missing {name}"):
        build({key: value for key, value in sound.items() if key != name})
    with pytest.raises(CheckpointError, match="left over more"):
        build(sound | {"more": torch.ones(1)})
    with pytest.raises(CheckpointError, match=rf"{name} of shape .*got \(1,\)"):
        build(sound | {name: torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"lacks the weights embedding_gn"):
        build({})


def test_files_that_would_fill_the_memory_are_refused(tmp_path):
    """Few bytes that unpack to many, numbers of a byte that would become of four."""
    path = write(tmp_path / "a.ckpt", contents())
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    folder = next(iter(entries)).partition("/")[0]
    for padding in range(2):
        entries[f"{folder}/more/{padding}"] = bytes(1 << 27)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match="unpack to at most 268,435,456 bytes"):
        read_checkpoint(path)
    content = contents()
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = content["state_dict"][name].to(torch.uint8)
    with pytest.raises(CheckpointError, match=r"of 4 or 8 bytes, got torch\.uint8 in"):
        read_checkpoint(write(path, content))


def test_a_step_ends():
    HyperParameters(**MELT | {"sigma_level": 100, "step_per_sigma": 1000})
    with pytest.raises(
        ValueError, match=r"100,000 evaluations .* at most, got 100,100"
    ):
        HyperParameters(**MELT | {"sigma_level": 100, "step_per_sigma": 1001})
