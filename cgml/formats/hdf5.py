"""HDF5 files, read with nothing taken on trust: what a file has stands in that file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from cgml.formats.format import MOST_PACKED
from cgml.memory import require

_SMALL = 1 << 24  # bytes; packed as well as may be


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file; whatever HDF5 says of a broken one is told with its name.

    Raises:
        ValueError: no such file, a damaged one, or one with links: they may lead to
            other files, which may be pipes.
    """
    try:
        with h5py.File(path, "r") as file:
            linked = file.visititems_links(_name_of_link)
            if linked is not None:
                raise ValueError(
                    f"{path} is damaged: {linked} must stand in this file, and not in "
                    "another"
                )
            yield file
    except OSError as error:
        raise ValueError(
            f"{path} is not an HDF5 file, or it is cut short: {error}"
        ) from error
    except KeyError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def dataset(parent: h5py.Group, name: str, kinds: str) -> h5py.Dataset:
    """Find numbers or text, no more of them than the file can hold.

    Args:
        parent: where they stand.
        name: place below it.
        kinds: of their numpy type, "O" and "S" for text.
    """
    if name not in parent:
        raise KeyError(f"it has no {name}")
    place = parent[name]
    if not isinstance(place, h5py.Dataset) or place.dtype.kind not in kinds:
        raise ValueError(f"{name} is not of the kind that is required")
    if place.is_virtual or place.external:
        raise ValueError(f"{name} must stand in this file, and not in another")
    if place.nbytes > max(_SMALL, MOST_PACKED * place.id.get_storage_size()):
        raise ValueError(f"{name} declares {place.nbytes:,} bytes, more than it has")
    require(place.nbytes, name, "fetch the file anew")
    return place


def _name_of_link(name: str, link: object) -> str | None:
    """Return a name that may lead elsewhere; a name stops the visit."""
    return None if isinstance(link, h5py.HardLink) else name
