"""Masses from the XML file of an OpenMM System, read as data and without OpenMM."""

from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from cgml.files import existing

_LARGEST = 1 << 30  # bytes
_MOST = 50_000_000  # particles
_PIECE = 1 << 20  # bytes


class _System:
    """Gathers the masses of the particles as the parser comes by them."""

    def __init__(self) -> None:
        self.masses: list[float] = []
        self.place: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Enter an element."""
        self.place.append(name)
        if len(self.place) == 1 and name != "System":
            raise ValueError(f"it holds a {name}")
        if self.place == ["System", "Particles", "Particle"]:
            self.masses.append(float(attributes["mass"]))
        if len(self.masses) > _MOST:
            raise ValueError(f"it has more than {_MOST} particles")

    def end(self, name: str) -> None:
        """Leave an element."""
        del name
        self.place.pop()


def read_masses(path: Path) -> NDArray[np.float64]:
    """Read the masses of a System's particles, (n_particles,), Da.

    The file, of up to 1 GiB, is what openmm.XmlSerializer.serialize made of a System;
    one that declares entities is refused.
    """
    size = existing(path).stat().st_size
    if size > _LARGEST:
        raise ValueError(f"a System of at most 1 GiB is read, {path} has {size} bytes")
    system, parser = _System(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = system.start, system.end
    parser.StartDoctypeDeclHandler = _refuse
    try:
        with path.open("rb") as stream:
            while part := stream.read(_PIECE):
                parser.Parse(part)
            parser.Parse(b"", True)  # noqa: FBT003
        if not system.masses or not np.isfinite(system.masses).all():
            raise ValueError("it has no particles, or their masses are no numbers")
    except (expat.ExpatError, ValueError, KeyError) as error:
        raise ValueError(
            f"the XML file of an OpenMM System is required (openmm.XmlSerializer."
            f"serialize(system)), {path} is none: {error}"
        ) from error
    return np.array(system.masses)


def _refuse(*_: object) -> NoReturn:
    """Refuse entities: a small file may unfold to a huge one."""
    raise ValueError("it has a document type declaration")
