"""Where an evaluation comes from: date, command, versions, files and their hashes."""

import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cgml import machine
from cgml.models.file import bundled_models


class File(NamedTuple):
    """A file that was read.

    Attributes:
        role: "model", "reference", ...
        path: as it was given; of a bundled model its name.
        size: bytes.
        sha256: of its content, hexadecimal.
    """

    role: str
    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, role: str, path: Path) -> "File":
        """Read a file through."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        is_bundled = bundled_models().get(path.stem) == path
        shown = f"{path.stem}, bundled with cgml" if is_bundled else str(path)
        return cls(role, shown, path.stat().st_size, digest)


@dataclass(frozen=True)
class Provenance:
    """What a report says of its making.

    Attributes:
        files: what was read.
        command: as it was typed; "" where there was none.
        versions: of cgml, torch and the processor.
        date: of the evaluation, UTC.
    """

    files: Sequence[File] = ()
    command: str = ""
    versions: dict[str, str] = field(default_factory=machine.kind)
    date: str = field(
        default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    )

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self) | {"files": [item._asdict() for item in self.files]}


def of_command(**paths: Sequence[Path | None]) -> Provenance:
    """Describe what the command line of this process read.

    Args:
        paths: files by their role; None: none.
    """
    files = [
        File.of(role, path)
        for role, some in paths.items()
        for path in some
        if path is not None
    ]
    return Provenance(files, shlex.join(["cgml", *sys.argv[1:]]))
