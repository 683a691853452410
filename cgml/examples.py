"""Scripts and sample data that come with the package.

For example:
    from cgml import examples
    examples.path("copolymer.data")
"""

import shutil
from importlib.resources import files
from pathlib import Path


def folder() -> Path:
    """Folder of the scripts, of an installed package or of a checkout."""
    package = Path(str(files("cgml")))
    installed = package / "_examples"  # put there by the build, see pyproject.toml
    return installed if installed.is_dir() else package.parent / "examples"


def path(name: str) -> Path:
    """Path of a sample file.

    Args:
        name: for example "copolymer.data", a chain of 100 atoms for LAMMPS;
            "copolymer.npz", the same with reference values; or "chains.npz", two
            chains in 4,000 ps of reference MD.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    data = folder() / "data"
    found = data / name
    if not found.is_file() or found.parent != data:
        known = ", ".join(sorted(item.name for item in data.glob("*")))
        raise FileNotFoundError(
            f"no sample file is named {name!r}, there are: {known or 'none'}"
        )
    return found


def copy(target: Path) -> list[Path]:
    """Copy scripts and data into a folder.

    Args:
        target: folder, there already or not; what lies there and differs is kept.

    Returns:
        The files, sorted.

    Raises:
        FileExistsError: a file is there that differs.
    """
    source = folder()
    if target.resolve() == source.resolve():
        raise FileExistsError(f"the examples lie in {target} already")
    names = [
        item.relative_to(source)
        for pattern in ("*.py", "data/*")
        for item in sorted(source.glob(pattern))
    ]
    for name in names:
        there = target / name
        if there.exists() and (
            not there.is_file() or there.read_bytes() != (source / name).read_bytes()
        ):
            raise FileExistsError(
                f"{there} is there already and differs: choose another folder"
            )
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return [target / name for name in names]
