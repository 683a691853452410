"""The user's table of types and masses: TOML or CSV.

In TOML a line for each name, `CH2 = {type = "CH2", mass = 14.027}`, or a type or mass
alone; in CSV a line `name,type,mass`.
"""

import csv
import tomllib
from pathlib import Path
from typing import Any

from cgml.files import existing
from cgml.formats.format import HEAVIEST
from cgml.molecules.chemistry import Row

_LARGEST = 1 << 24  # bytes
_FORM = 'CH2 = {type = "CH2", mass = 14.027} in TOML, or CH2,CH2,14.027 in CSV'


def read_types(path: Path) -> dict[str, Row]:
    """Read what the user says of names: of atoms, RESIDUE:NAME, or of types."""
    if existing(path).stat().st_size > _LARGEST:
        raise ValueError(
            f"a table of types of at most 16 MiB is read, {path} is larger"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = _from_csv(text) if path.suffix.lower() == ".csv" else _from_toml(text)
        if not rows:
            raise ValueError("it has no lines")
        for name, row in rows.items():
            if row.mass is not None and not 0.0 < row.mass < HEAVIEST:
                raise ValueError(f"the mass of {name!r} must be positive and finite")
    except (ValueError, OverflowError, csv.Error, RecursionError) as error:
        hint = "; a System is given with --system" if path.suffix == ".xml" else ""
        raise ValueError(
            f"{path} is no table of types (UTF-8, a line for each name: {_FORM}): "
            f"{str(error)[:1000]}{hint}"
        ) from error
    return rows


def _from_toml(text: str) -> dict[str, Row]:
    content = tomllib.loads(text)
    if set(content) == {"types"} and isinstance(content["types"], dict):
        content = content["types"]
    return {name: _row(name, value) for name, value in content.items()}


def _row(name: str, value: Any) -> Row:
    """Read what stands behind a name: a table, a type, or a mass."""
    if isinstance(value, str) and value:
        return Row(type=value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Row(mass=float(value))
    if isinstance(value, dict) and value and set(value) <= {"type", "mass"}:
        kind, mass = value.get("type"), value.get("mass")
        is_number = isinstance(mass, int | float) and not isinstance(mass, bool)
        if (kind is None or (isinstance(kind, str) and kind)) and (
            mass is None or is_number
        ):
            return Row(kind, None if mass is None else float(mass))
    raise ValueError(f"a type and a mass are required of {name!r}, got {value!r}")


def _from_csv(text: str) -> dict[str, Row]:
    lines = [line for line in text.splitlines() if line.partition("#")[0].strip()]
    table = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    order = ["name", "type", "mass"]
    heads = {"number": "name", "atom": "name"}
    head = [heads.get(cell.lower(), cell.lower()) for cell in table[0]] if table else []
    if "name" in head and set(head) <= set(order):
        order, table = head, table[1:]
    rows: dict[str, Row] = {}
    for cells in table:
        if not 1 < len(cells) <= len(order):
            raise ValueError(f"cells {', '.join(order)} are required, got {cells}")
        values = dict(zip(order, cells, strict=False))
        name, mass = values["name"], values.get("mass", "")
        if name in rows:
            raise ValueError(f"{name!r} has two lines")
        rows[name] = Row(values.get("type") or None, float(mass) if mass else None)
    return rows
