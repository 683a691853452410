"""Pickles of torch built without running them.

Of the operations of a pickle only those that make numbers, texts and containers are
known, and only so many of them. Tensors come from their storages by checked shapes;
any other class that a caller permits becomes an inert `Record`.

Example:
    entries = read_archive("a.ckpt")
    content = load_pickle("a.ckpt", entries, permits=lambda name: name == "a.Config")
"""

import math
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from cgml.archive import ArchiveError, refusing

MAX_PICKLE = 1 << 24  # bytes: tensors lie beside it
MAX_OPERATIONS = 1 << 19  # of a pickle; a second or two
MAX_SHARED = 2  # times that the tensors together may be larger than their storages
MAX_DIMENSIONS = 8

_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


class Record:
    """Stands for an object of a class that is not imported: inert.

    Attributes:
        name: module and name of the class.
        arguments: what it would be made from; none for the class itself.
        state: what it would be told of itself, or None.
    """

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...] = ()) -> None:
        self.name, self.arguments = name, arguments
        self.state: Any = None

    def __repr__(self) -> str:
        return f"<{self.name}>"


def load_pickle(
    path: Path | str,
    entries: Mapping[str, memoryview],
    *,
    permits: Callable[[str], bool],
    stem: str = "data",
) -> Any:
    """Build what a pickle of an archive says; nothing in it is run.

    Args:
        path: of the archive, for the error text.
        entries: from `read_archive`.
        permits: whether a class, by module and name, may become a `Record`; those of
            tensors and plain containers need no permission.
        stem: of `<stem>.pkl` and of the folder of its storages.

    Returns:
        Numbers, texts, lists, tuples, dictionaries, tensors and records. Containers
        may hold one another in circles.

    Raises:
        ArchiveError: A class is not permitted, which is named; a tensor does not fit
            its storage; or the pickle is too long or not one of torch.
    """
    with refusing(path):
        if f"{stem}.pkl" not in entries:
            raise ArchiveError(f"is not a file of torch: there is no {stem}.pkl in it")
        if entries.get("byteorder", b"little") != b"little":
            raise ArchiveError("must have numbers in little-endian order")
        stream = entries[f"{stem}.pkl"]
        if len(stream) > MAX_PICKLE:
            raise ArchiveError(f"must have a pickle of at most {MAX_PICKLE:,} bytes")
        return _Machine(_Tensors(entries, f"{stem}/"), permits).run(bytes(stream))


class _Storage:
    """Numbers that tensors are views of; (n,)."""

    __slots__ = ("values",)

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values


class _Tensors:
    """Storages of an archive, and the tensors in them.

    Args:
        entries: of the archive.
        folder: of the storages.
    """

    def __init__(self, entries: Mapping[str, memoryview], folder: str) -> None:
        self._entries, self._folder = entries, folder
        self._storages: dict[str, _Storage] = {}
        sizes = [len(entries[name]) for name in entries if name.startswith(folder)]
        self._left = MAX_SHARED * sum(sizes)  # bytes that tensors may still have

    def storage(self, identity: Any) -> _Storage:
        """The storage that a pickle means."""
        _, mentioned, key, _, count = identity
        name = f"{self._folder}{key}"
        dtype = _DTYPES.get(mentioned.name.replace("torch.cuda.", "torch."))
        if type(key) is not str or dtype is None or name not in self._entries:
            raise ArchiveError(f"has no storage {key!r} of type {mentioned.name}")
        entry = self._entries[name]
        if len(entry) != count * dtype.itemsize:
            raise ArchiveError(
                f"is damaged: storage {key!r} must have {count} numbers of "
                f"{dtype.itemsize} bytes, got {len(entry)} bytes"
            )
        if key not in self._storages:
            is_bool = dtype == torch.bool
            values = torch.empty(0, dtype=dtype)
            if count:
                kept = torch.uint8 if is_bool else dtype
                values = torch.frombuffer(bytearray(entry), dtype=kept)
            self._storages[key] = _Storage(values.bool() if is_bool else values)
        found = self._storages[key]
        if found.values.dtype != dtype:
            raise ArchiveError(f"has storage {key!r} in two types")
        return found

    def tensor(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
    ) -> torch.Tensor:
        """A view of a storage: shape and strides lie within it."""
        values: torch.Tensor = storage.values
        if not (
            type(shape) is type(strides) is tuple
            and len(shape) == len(strides) <= MAX_DIMENSIONS
            and all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))
        ):
            raise ArchiveError("holds a tensor whose shape or strides cannot be")
        count = math.prod(shape)
        pairs = zip(shape, strides, strict=True)
        last = offset + sum((n - 1) * stride for n, stride in pairs)
        if count and not (count <= len(values) and last < len(values)):
            raise ArchiveError(
                f"holds a tensor of shape {tuple(shape)} in a storage of "
                f"{len(values)} numbers, too few"
            )
        self._left -= count * values.element_size()
        if self._left < 0:
            raise ArchiveError("holds far more in its tensors than in their storages")
        return values.as_strided(shape, strides, offset)


_NUMBERS_AND_TEXTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
}
_SINGLE = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONTAINERS = {
    f"collections.{name}" for name in ("OrderedDict", "Counter", "defaultdict")
}
_BUILT = {"torch.Size", "torch._utils._rebuild_parameter", *_CONTAINERS}
_KEYS = (str, int, float, bool, bytes, type(None), Record)


class _Machine:
    """The operations of a pickle that are needed, and no others.

    Args:
        tensors: of the archive.
        permits: see `load_pickle`.
    """

    def __init__(self, tensors: _Tensors, permits: Callable[[str], bool]) -> None:
        self._tensors, self._permits = tensors, permits
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: bytes) -> Any:
        """What the pickle makes."""
        place = None
        for count, step in enumerate(pickletools.genops(stream)):
            operation, argument, place = step
            if count >= MAX_OPERATIONS:
                text = f"must have a pickle of at most {MAX_OPERATIONS:,} operations"
                raise ArchiveError(text)
            self._do(operation.name, argument)
        if (place or 0) + 1 < len(stream):
            raise ArchiveError("is damaged: its pickle goes on after its end")
        (made,) = self._stack
        return made

    def _do(self, name: str, argument: Any) -> None:
        """One operation."""
        if name in _NUMBERS_AND_TEXTS:
            if type(argument) is int and argument.bit_length() > 64:
                raise ArchiveError("holds a number of more than 64 bits")
            self._stack.append(argument)
        elif name in _SINGLE:
            self._stack.append(_SINGLE[name])
        elif name in _TUPLES:
            self._stack.append(tuple(self._pop(_TUPLES[name])))
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        else:
            raise ArchiveError(f"is refused: its pickle has the operation {name}")

    def _pop(self, count: int) -> list[Any]:
        """The last values on the stack, taken off it."""
        place = len(self._stack) - count
        if place < (self._marks[-1] if self._marks else 0):
            raise ArchiveError("is damaged: its pickle lacks values; fetch it anew")
        taken = self._stack[place:]
        del self._stack[place:]
        return taken

    def _pop_marked(self) -> list[Any]:
        """The values since the last mark, and the mark, taken off."""
        taken = self._pop(len(self._stack) - self._marks[-1])
        self._marks.pop()
        return taken

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _keep(self, place: Any) -> None:
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def _recall(self, place: Any) -> None:
        self._stack.append(self._memo[place])

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_marked()))

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ArchiveError(f"is refused: it appends to {kind(target)}")
        target.extend(values)

    def _set(self, values: list[Any]) -> None:
        target, keys = self._stack[-1], values[::2]
        if type(target) is not dict or any(type(key) not in _KEYS for key in keys):
            raise ArchiveError(
                f"is refused: it sets items of {kind(target)}, or by other keys than "
                "numbers and texts"
            )
        target.update(zip(keys, values[1::2], strict=True))

    def _global(self, name: str) -> None:
        """Mention a class, `module name`."""
        name = name.replace(" ", ".").replace("__builtin__.", "builtins.")
        if not re.fullmatch(r"[\w.]{1,200}", name):
            raise ArchiveError("is refused: it names a class that cannot be")
        known = name in _BUILT or name == "torch._utils._rebuild_tensor_v2"
        is_storage = name.replace("torch.cuda.", "torch.") in _DTYPES
        if not (known or is_storage or self._permits(name)):
            raise ArchiveError(
                f"is refused: it names {name}, which a file of this kind does not "
                "need; nothing was run"
            )
        self._stack.append(Record(name))

    def _stack_global(self, _: Any) -> None:
        module, name = self._pop(2)
        self._global(f"{module}.{name}")

    def _build(self, _: Any) -> None:
        """Give an object its state; that of a dictionary is not of use."""
        (state,) = self._pop(1)
        target = self._stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif type(target) is not dict:
            raise ArchiveError(f"is refused: it gives a state to {kind(target)}")

    def _make(self, _: Any) -> None:
        """What a mentioned class makes of arguments."""
        maker, arguments = self._pop(2)
        if type(maker) is not Record or type(arguments) is not tuple:
            raise ArchiveError(f"is refused: it calls {kind(maker)}")
        if maker.name == "torch._utils._rebuild_tensor_v2":
            made: Any = self._tensors.tensor(*arguments)
        elif maker.name in _BUILT:
            made = _container(maker.name, arguments)
        else:
            made = Record(maker.name, arguments)
        self._stack.append(made)

    def _storage(self, _: Any) -> None:
        (identity,) = self._pop(1)
        self._stack.append(self._tensors.storage(identity))


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda *_: None),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine._keep),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine._recall),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine._make),
    "MARK": _Machine._mark,
    "EMPTY_LIST": lambda machine, _: machine._stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine._stack.append({}),
    "TUPLE": _Machine._tuple,
    "APPEND": lambda machine, _: machine._append(machine._pop(1)),
    "APPENDS": lambda machine, _: machine._append(machine._pop_marked()),
    "SETITEM": lambda machine, _: machine._set(machine._pop(2)),
    "SETITEMS": lambda machine, _: machine._set(machine._pop_marked()),
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._storage,
}


def _container(name: str, arguments: tuple[Any, ...]) -> Any:
    """A shape, a parameter, or a dictionary, from what the pickle calls it with."""
    first = arguments[0] if arguments else {}
    if name == "torch.Size" and type(first) is tuple:
        return first
    if name == "torch._utils._rebuild_parameter":
        if not isinstance(first, torch.Tensor):
            raise ArchiveError(f"is refused: a parameter of {kind(first)}")
        return first
    if name == "collections.defaultdict" and len(arguments) < 2:
        return {}  # without its factory
    if type(first) is not dict:
        raise ArchiveError(f"is refused: {name} of {kind(first)}")
    return first


def kind(value: Any) -> str:
    """Name of the class of a value, or of the class that it stands for."""
    return value.name if isinstance(value, Record) else type(value).__name__
