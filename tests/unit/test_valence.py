"""Which carbons of files of elements can be bare, and which are united atoms."""

import numpy as np
import pytest

from cgml.formats.trajectory import read_topology
from cgml.molecules.atoms import AtomTable
from cgml.molecules.chemistry import Chemistry, Row, check_carbons, describe
from cgml.molecules.masses import UnknownMassesError
from cgml.molecules.valence import lack_hydrogens

RING = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]
STAR = [(0, 1), (0, 2), (0, 3)]


def chain(n: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(n - 1)]


def around(*counts: int) -> list[tuple[int, int]]:
    """A chain of centres, each with so many atoms of its own behind them."""
    n = len(counts)
    owners = np.repeat(np.arange(n), counts).tolist()
    return chain(n) + [(owner, n + k) for k, owner in enumerate(owners)]


def lacking(symbols: str, bonds: list[tuple[int, int]]) -> list[int]:
    pairs = np.array(bonds, dtype=np.int64).reshape(-1, 2)
    return np.flatnonzero(lack_hydrogens(symbols.split(), pairs)).tolist()


@pytest.mark.parametrize(
    ("symbols", "bonds"),
    [
        ("O C O", chain(3)),  # carbon dioxide
        ("C O", chain(2)),
        ("C N", chain(2)),  # cyanide
        ("C O O O", STAR),  # carbonate
        ("C N N N", STAR),  # guanidinium, whose hydrogens hang on nitrogen
        ("N C N C N", chain(5)),  # dicyanamide
        ("S C N", chain(3)),
        ("C C O O F F F", [*around(2, 3)]),  # trifluoroacetate
        ("C C C C C C" + " F" * 6, RING + [(i, 6 + i) for i in range(6)]),
        ("C C" + " F" * 6, around(3, 3)),
        ("C C F F F F", around(2, 2)),  # tetrafluoroethylene
        ("C C O O O O", around(2, 2)),  # oxalate
        ("Fe C N C O", [(0, 1), (1, 2), (0, 3), (3, 4)]),
        # triflimide: C S N S C, and what hangs on them
        ("C S N S C F F F O O O O F F F", around(3, 2, 0, 2, 3)),
        # tricyanomethanide, and a methide of three sulfonyls
        ("C C C C N N N", [*STAR, (1, 4), (2, 5), (3, 6)]),
        ("C S S S" + " O O F" * 3, [*STAR, *((1 + k // 3, 4 + k) for k in range(9))]),
        # with hydrogens: benzene cut from a polymer, acetonitrile, butyne
        ("C C C C C C H C", [*RING, (0, 6), (1, 7)]),
        ("C C N H H H", [*chain(3), (0, 3), (0, 4), (0, 5)]),
        ("C C C C H H H H H H", around(3, 0, 0, 3)),
        ("O H H", [(0, 1), (0, 2)]),
        ("Li", []),
    ],
)
def test_bare_carbons(symbols: str, bonds: list[tuple[int, int]]) -> None:
    assert lacking(symbols, bonds) == []


@pytest.mark.parametrize(
    ("symbols", "bonds", "expected"),
    [
        ("C O C C O C", chain(6), [0, 2, 3, 5]),  # glyme
        ("C C C C", chain(4), [0, 1, 2, 3]),
        ("C C C C", STAR, [0, 1, 2, 3]),  # isobutane
        ("C C C C C C", RING, [0, 1, 2, 3, 4, 5]),  # benzene without hydrogens
        ("C", [], [0]),  # methane
        ("C O H", chain(3), [0]),  # methanol, its hydroxyl in full
        ("C C O O", [(0, 1), (1, 2), (1, 3)], [0]),  # acetate: one carbon is bare
        ("C C C C O O O O", [*around(2, 0, 0, 2)], [1, 2]),  # succinate
        ("C N C O", chain(4), [0]),  # methyl isocyanate
        ("Si O C C", [(0, 1), (0, 2), (0, 3)], [2, 3]),
        # beside a molecule that has its hydrogens
        ("C H H H H C C", [*((0, k) for k in range(1, 5)), (5, 6)], [5, 6]),
    ],
)
def test_carbons_that_lack_hydrogens(
    symbols: str, bonds: list[tuple[int, int]], expected: list[int]
) -> None:
    assert lacking(symbols, bonds) == expected


def test_what_helps() -> None:
    """Masses, or the word of the user, settle it; a file of no element says nothing."""
    bonds = np.array([[0, 1], [1, 2]])
    values = {"source": "a.pdb", "names": ["C1", "O1", "C2"], "bonds": bonds}
    table = AtomTable(**values, elements=["C", "O", "C"], residues=["EO"] * 3)
    with pytest.raises(UnknownMassesError) as refused:
        check_carbons(table, Chemistry())
    for part in ("EO:C1, EO:C2 in a.pdb", "too few bonds", "--system", "--mass C1="):
        assert part in str(refused.value)
    named = {"C1": Row("CH3", 15.035), "EO:C2": Row(mass=15.035)}
    for rows in (named, {"C": Row(mass=12.011)}):
        check_carbons(table, Chemistry(rows))
        assert describe(table, Chemistry(rows)).n_atoms == 3
    with pytest.raises(UnknownMassesError, match=r"required of EO:C2 in"):
        check_carbons(table, Chemistry({"C1": Row("CH3", 15.035)}))
    masses = np.array([15.035, 15.999, 15.035])
    check_carbons(
        AtomTable(**values, elements=["C", "O", "C"], masses=masses), Chemistry()
    )
    check_carbons(AtomTable(**values), Chemistry())


def test_a_reader_in_python_says_it(tmp_path, caplog) -> None:
    """Only commands refuse: a script may have its own reasons."""
    line = "HETATM{0:5d}  C{0:<2d} PEO A   1    {0:8.3f}   0.000   0.000" + " " * 24
    rows = [line.format(i)[:76] + " C" for i in (1, 2)]
    (tmp_path / "a.pdb").write_text("\n".join([*rows, "CONECT    1    2", "END\n"]))
    assert read_topology(tmp_path / "a.pdb").types == ("C", "C")
    assert "PEO:C1, PEO:C2" in caplog.text
