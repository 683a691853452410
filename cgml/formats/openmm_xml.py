"""Masses from the XML file of an OpenMM System, read as data and without OpenMM."""

from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from cgml.files import existing

_LARGEST = 1 << 30  # bytes
_PIECE = 1 << 20  # bytes


def read_masses(path: Path) -> NDArray[np.float64]:
    """Read the masses of a System's particles, (n_particles,), Da.

    The file, of up to 1 GiB, is what openmm.XmlSerializer.serialize made of a System;
    one that declares entities is refused.
    """
    size = existing(path).stat().st_size
    if size > _LARGEST:
        raise ValueError(f"a System of at most 1 GiB is read, {path} has {size} bytes")
    masses, place = list[float](), list[str]()

    def start(name: str, attributes: dict[str, str]) -> None:
        place.append(name)
        if place[0] != "System":
            raise ValueError(f"it holds a {place[0]}")
        if place == ["System", "Particles", "Particle"]:
            masses.append(float(attributes["mass"]))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: place.pop()
    parser.StartDoctypeDeclHandler = _refuse
    try:
        with path.open("rb") as stream:
            while part := stream.read(_PIECE):
                parser.Parse(part)
            parser.Parse(b"", True)  # noqa: FBT003
        if not masses or not np.isfinite(masses).all():
            raise ValueError("it has no particles, or their masses are no numbers")
    except (expat.ExpatError, ValueError, KeyError) as error:
        raise ValueError(
            f"the XML file of an OpenMM System is required (openmm.XmlSerializer."
            f"serialize(system)), {path} is none: {error}"
        ) from error
    return np.array(masses)


def _refuse(*_: object) -> NoReturn:
    """Refuse entities: a small file may unfold to a huge one."""
    raise ValueError("it has a document type declaration")
