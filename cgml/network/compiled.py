"""Networks compiled for this machine: a second kind of file beside the model's.

`cgml compile` has torch's AOTInductor compile the parts of the networks that take
most of the time. What comes out is machine code. It is therefore never taken from
where models come from: it lies in the user's own cache, under a fingerprint of the
model, and is loaded only if it was built there, by this version, for this processor,
and has not changed since. Anything else is refused, and the networks run as they are.
"""

import hashlib
import json
import platform
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch._inductor.cpp_builder import get_cpp_compiler
from torch.export import Dim
from torch.torch_version import TorchVersion

from cgml.contract.lanes import LANES
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network import cache
from cgml.network.arrivals import made_up
from cgml.network.bound import KINDS, BoundNetworks, Part, Parts
from cgml.network.inputs import build_system
from cgml.network.leaves import LEAST_ROWS
from cgml.network.model import LearnedModel, fingerprint
from cgml.network.pairs import Layout, PairSearch
from cgml.network.predictor import History
from cgml.spec import ModelSpec, Precision

_LEAST_TORCH = "2.13"
"""2.7 cannot trace the networks, those between were not tried."""

_N = (3, 5, 7)
"""Sizes of the examples from which it is read which sizes are free."""


class CompilationError(RuntimeError):
    """The networks cannot be compiled on this machine."""


def compile_model(model: LearnedModel, precision: Precision = "float32") -> Path:
    """Compile the networks of a model for this machine; it takes a minute or two.

    From then on they are used wherever the model runs on the CPU in this precision,
    unless `Execution(compiled=False)` is asked for. Results differ in the last bits
    from those of networks that are not compiled.

    Args:
        model: from `cgml.load_model`, on the CPU.
        precision: of products, see `Execution`; each is compiled for itself.

    Returns:
        The folder in the user's cache that holds the package, of several members that
        of the last.

    Raises:
        CompilationError: no C++ compiler that works.
        ValueError: a published model.
    """
    spec: Any = model.spec
    if not spec.is_compilable:
        raise ValueError(
            f"a model trained by cgml is required, {spec.name!r} is a published one: "
            "it runs without being compiled"
        )
    if spec.n_members > 1:
        return [compile_model(member, precision) for member in model.members][-1]
    folder = _folder(spec, model.module, precision)
    _require_compiler()
    networks, examples = zip(
        *(_example(spec, model.module, precision, n) for n in _N), strict=True
    )
    digests = {}
    with cache.building(folder) as place:
        for name, part in _present(networks[0].parts()):
            path = place / f"{name}.pt2"
            _compile(part, [inputs[name] for inputs in examples], path)
            digests[path.name] = cache.digest(path)
        label = json.dumps(_label() | {"files": digests}, indent=1)
        (place / cache.LABEL).write_text(label)
    find.cache_clear()
    return folder


def compiled_parts(
    spec: ModelSpec, module: nn.Module, precision: Precision
) -> Parts | None:
    """Load what was compiled for a model on this machine, if there is such a thing.

    A package that must not be used is refused with a warning that says why.

    Args:
        spec: of the model.
        module: its networks.
        precision: of products, see `Execution`.
    """
    folder = _folder(spec, module, precision)
    names = Parts._fields if module.arrivals else Parts._fields[:-1]
    return find(folder, names) if cache.has_package(folder) else None


@lru_cache
def find(folder: Path, names: tuple[str, ...]) -> Parts | None:
    """Load the parts of the package in a folder, or say once why not."""
    files = [f"{name}.pt2" for name in names]
    reason = cache.objection(folder, files, _label())
    if not reason:
        try:
            return Parts(*(_load(folder / file) for file in files))
        except RuntimeError as error:
            reason = f"it cannot be loaded ({error})"
    warnings.warn(
        f"the compiled networks in {folder} are not used: {reason}; run cgml compile "
        "again, or delete the folder",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _label() -> dict[str, str]:
    """What a package must have been built by and for."""
    code = hashlib.sha256()
    for folder in ("contract", "network"):
        for path in sorted((Path(__file__).parents[1] / folder).glob("*.py")):
            code.update(path.read_bytes())
    return {
        "processor": _processor(),
        "torch": torch.__version__,
        "version of cgml": code.hexdigest()[:16],
    }


def _processor() -> str:
    """Name and instruction sets of this processor, as far as they are known."""
    parts = [platform.system(), platform.machine(), platform.processor()]
    parts.append(torch.backends.cpu.get_cpu_capability())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        fields = {key.strip(): value.strip() for key, value in found.items()}
        flags = " ".join(sorted(fields.get("flags", "").split()))
        parts.append(fields.get("model name", ""))
        parts.append(hashlib.sha256(flags.encode()).hexdigest()[:8])
    except OSError:
        pass  # not Linux
    return " ".join(part for part in parts if part)


def _folder(spec: ModelSpec, module: nn.Module, precision: Precision) -> Path:
    """Place in the cache, named by a digest of networks, weights and precision."""
    said = f"{spec.network.model_dump_json()} {spec.n_history} {spec.periodic}"
    said += "" if precision == "float32" else f" {precision}"
    return cache.root() / fingerprint(said, module)[:32]


def _load(path: Path) -> Part:
    """Function of a list of tensors, which it empties."""
    package = torch._inductor.aoti_load_package(str(path))
    # called itself, the package reads how its inputs are nested anew every time
    part: Part = package.loader.boxed_run
    return part


def _present(parts: Parts) -> list[tuple[str, Part]]:
    """Names and functions of the parts that a model has."""
    return [(name, part) for name, part in parts._asdict().items() if part is not None]


class _Traced(nn.Module):
    """A part as torch.export takes it."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = part

    def forward(self, inputs: list[torch.Tensor]) -> Any:
        """Call the part."""
        return self._part(inputs)


def _require_compiler() -> None:
    """Refuse before the networks are traced, which takes a while."""
    if TorchVersion(torch.__version__) < _LEAST_TORCH:
        raise CompilationError(
            f"compiling needs torch {_LEAST_TORCH} or newer, this is "
            f"{torch.__version__}; models run without being compiled, only slower"
        )
    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise _failure(error) from error


def _failure(error: RuntimeError) -> CompilationError:
    first, *_ = [*str(error).strip().splitlines(), repr(error)]
    return CompilationError(
        "compiling needs a C++ compiler that torch can use (g++ or clang++, or what "
        f"CXX names), and it did not work: {first}; models run without being compiled, "
        "only slower"
    )


def _compile(part: Part, examples: list[list[torch.Tensor]], path: Path) -> None:
    """Write one part to a package; what differs in size between the examples may."""
    sizes = _free_sizes(examples)
    # what is read twice is kept: sums over all rounds would else be taken in each
    options = {"freezing": True, "cpp.threads": 1, "realize_reads_threshold": 1}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            _Traced(part), (examples[0],), dynamic_shapes=(sizes,)
        )
        try:
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=options
            )
        except RuntimeError as error:
            raise _failure(error) from error


def _free_sizes(examples: list[list[torch.Tensor]]) -> list[dict[int, Any]]:
    """Sizes that differ from system to system, as multiples of a few free ones."""
    free = {
        name: values
        for name, *values in zip(
            _Sizes._fields, *(_sizes(inputs) for inputs in examples), strict=True
        )
        if len(set(values)) > 1
    }
    symbols = {
        name: Dim(name, min=LEAST_ROWS if name == "beads" else 2) for name in free
    }

    def multiple(found: list[int]) -> Any:
        factors = {
            name: found[0] // values[0]
            for name, values in free.items()
            if all(
                n == found[0] // values[0] * v
                for n, v in zip(found, values, strict=True)
            )
        }
        if len(factors) != 1:
            raise ValueError(f"one size must be behind {found}, got {list(factors)}")
        ((name, factor),) = factors.items()
        return symbols[name] if factor == 1 else factor * symbols[name]

    return [
        {
            axis: multiple(list(sizes))
            for axis, sizes in enumerate(
                zip(*(each.shape for each in same), strict=True)
            )
            if len(set(sizes)) > 1
        }
        for same in zip(*examples, strict=True)
    ]


class _Sizes(NamedTuple):
    """What a system is large in."""

    beads: int
    registers: int
    arrivals: int


def _sizes(inputs: list[torch.Tensor]) -> _Sizes:
    """Sizes of the system behind the inputs of a part.

    They begin with a layout, but for those of pairs that arrive, which have none.
    """
    if len(inputs) < len(Layout._fields):
        return _Sizes(beads=0, registers=inputs[0].shape[1] // LANES, arrivals=0)
    layout = Layout(*inputs[: len(Layout._fields)])
    return _Sizes(
        beads=len(layout.begins),
        registers=len(layout.receiver) // LANES,
        arrivals=len(layout.arrivals),
    )


def _example(
    spec: ModelSpec, module: Any, precision: Precision, n: int
) -> tuple[BoundNetworks, dict[str, list[torch.Tensor]]]:
    """Networks bound to n chains, and the inputs of their parts."""
    mapping = _chains(spec, n)
    system = build_system(mapping, spec)
    boxes = None
    if spec.periodic:
        width = 2.5 * (spec.cutoff or spec.statistics.length_scale)
        boxes = [width * torch.eye(3, dtype=torch.float64)]
    stream = torch.Generator().manual_seed(n)
    steps = torch.randn((mapping.n_beads, 3), generator=stream)
    positions = 0.4 * spec.statistics.length_scale * torch.cumsum(steps, dim=0)
    inputs: dict[str, list[torch.Tensor]] = {}

    def noted(name: str, part: Part) -> Part:
        def run(values: list[torch.Tensor]) -> Any:
            inputs[name] = [value.clone() for value in values]
            return part(values)

        return run

    with torch.no_grad():
        bound = (module, system.beads, module.embedding(system.atoms))
        search = PairSearch(system.beads, [mapping.n_beads], spec.cutoff, boxes)
        kind = KINDS[precision]
        networks = BoundNetworks(*bound, search, kind)
        parts = Parts(*(noted(*item) for item in _present(networks.parts())))
        watched = BoundNetworks(*bound, search, kind, parts)
        moves = torch.zeros(spec.n_history, len(positions), 3)
        history = History(positions, moves, moves[:, :, :1])
        near = watched.lay_out(search(positions))
        denoise = watched.denoiser(near, positions, watched.predict(near, history))
        denoise(torch.randn(positions.shape, generator=stream), 0.5)
    if module.arrivals is not None:  # which of the example arrive is chance
        inputs["arrive"] = list(made_up(n * LANES, stream))
    return networks, inputs


def _chains(spec: ModelSpec, n: int) -> Mapping:
    """N chains of 4 n + 1, 4 n, ... beads of two atoms, all types in turn."""
    ends = np.cumsum(8 * n + 2 - 2 * np.arange(n))
    n_atoms, names, kinds = int(ends[-1]), list(spec.particle_types), spec.bond_types
    types = [names[index % len(names)] for index in range(n_atoms)]
    first = np.setdiff1d(np.arange(n_atoms), ends - 1)
    graph = MolecularGraph.create(
        types,
        [spec.particle_types[name] for name in types],
        np.stack((first, first + 1), axis=1),
        [kinds[index % len(kinds)] for index in range(len(first))] if kinds else None,
    )
    return Mapping.from_labels(graph, np.arange(n_atoms) // 2)
