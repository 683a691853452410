"""What the program in a model file makes of a bond graph, in TorchScript.

The same as molecules/ and network/inputs.py make, in torch alone and without thought
of speed: it is done once per system, in processes that have nothing else.
"""

import torch


def components(n: int, bonds: torch.Tensor) -> torch.Tensor:
    """Molecule of each of n atoms, (n,): 0, 1, ... in order of their first atoms.

    Args:
        n: number of atoms.
        bonds: (n_bonds, 2) atoms.
    """
    label = torch.arange(n)
    first = torch.cat((bonds[:, 0], bonds[:, 1]))
    second = torch.cat((bonds[:, 1], bonds[:, 0]))
    is_done = False
    while not is_done:
        lower = label.scatter_reduce(0, first, label.index_select(0, second), "amin")
        lower = lower.index_select(0, lower)
        is_done = torch.equal(lower, label)
        label = lower
    molecules: torch.Tensor = torch.unique(label, return_inverse=True)[1]
    return molecules


def bead_bonds(beads: torch.Tensor, bonds: torch.Tensor) -> torch.Tensor:
    """Pairs of beads between which a bond crosses, each once, (n, 2).

    Args:
        beads: (n_atoms,) bead of each atom.
        bonds: (n_bonds, 2) atoms.
    """
    pairs = beads.index_select(0, bonds.flatten()).view(-1, 2).sort(dim=1)[0]
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return torch.unique(pairs, dim=0) if pairs.size(0) > 0 else pairs


def part(members: torch.Tensor, n: int, bonds: torch.Tensor) -> torch.Tensor:
    """Bonds among some atoms, which are counted from 0, (n_own, 2).

    Args:
        members: atoms, ascending.
        n: number of all atoms.
        bonds: (n_bonds, 2) atoms.
    """
    local = torch.full((n,), -1, dtype=torch.int64)
    local[members] = torch.arange(members.size(0))
    own = local.index_select(0, bonds.flatten()).view(-1, 2)
    return own[(own >= 0).all(dim=1)]


def kinds(
    masses: torch.Tensor, molecules: torch.Tensor, bonds: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Molecules that are equal bead by bead.

    Args:
        masses: (n_beads,) Da.
        molecules: (n_beads,) molecule of each bead.
        bonds: (n_bonds, 2) beads.

    Returns:
        For each kind the beads of its molecules (n, m), masses (m,) and bonds.
    """
    known: list[tuple[torch.Tensor, torch.Tensor]] = []
    rows: list[list[torch.Tensor]] = []
    for molecule in range(int(molecules.max()) + 1):
        members = (molecules == molecule).nonzero().flatten()
        own = masses[members]
        inside = part(members, masses.size(0), bonds)
        number = len(known)
        for index, (weights, ends) in enumerate(known):
            if torch.equal(weights, own) and torch.equal(ends, inside):
                number = index
        if number == len(known):
            known.append((own, inside))
            rows.append([])
        rows[number].append(members)
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for each, (weights, ends) in zip(rows, known):  # noqa: B905 (TorchScript)
        found.append((torch.stack(each), weights, ends))
    return found


def laplacian(n: int, bonds: torch.Tensor) -> torch.Tensor:
    """Laplacian of n atoms joined by (n_bonds, 2) bonds, (n, n) float64."""
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix[bonds[:, 0], bonds[:, 1]] = -1.0
    matrix[bonds[:, 1], bonds[:, 0]] = -1.0
    return matrix - torch.diag(matrix.sum(dim=1))


def kernels(
    masses: torch.Tensor,
    bonds: torch.Tensor,
    rate: float,
    variance: float,
    is_held: bool,  # noqa: FBT001 (TorchScript)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Matrices of the Rouse model of one molecule of n beads.

    With A the Laplacian over the roots of both masses (in units of their mean m), of
    eigenvalues a and eigenvectors v, a mode keeps k = exp(-b a) of its value in a step
    and gains the variance s^2 = c (1 - exp(-2 b a)) / a.

    Args:
        masses: (n,) float64 Da.
        bonds: (n_bonds, 2) beads.
        rate: b.
        variance: c, nm^2.
        is_held: whether the centre of mass is left out of the noise.

    Returns:
        m^(-1/2) v k v' m^(1/2), m^(-1/2) v s v' in nm, v s^(-1) v' m^(1/2) in 1/nm,
        each (n, n), and the (n,) direction without noise, or zeros.
    """
    weights = torch.sqrt(masses / masses.mean())
    matrix = laplacian(masses.size(0), bonds) / torch.outer(weights, weights)
    values, vectors = torch.linalg.eigh(matrix)
    twice = 2.0 * rate * values.clamp(min=0.0)
    is_small = twice < 1e-9
    safe = torch.where(is_small, torch.ones_like(twice), twice)
    growth = torch.where(is_small, torch.ones_like(safe), -torch.expm1(-safe) / safe)
    deviation = torch.sqrt(2.0 * rate * variance * growth)
    inverse = 1.0 / deviation
    rest = torch.zeros_like(masses)
    if is_held:
        deviation[0] = 0.0
        inverse[0] = 0.0
        rest = vectors[:, 0]
    left, right = vectors / weights.unsqueeze(1), vectors * weights.unsqueeze(1)
    return (
        (left * torch.exp(-0.5 * twice)) @ right.t(),
        (left * deviation) @ vectors.t(),
        (vectors * inverse) @ right.t(),
        rest,
    )


def separation(n: int, bonds: torch.Tensor) -> torch.Tensor:
    """Number of bonds between any two of n beads, (n, n) float64."""
    apart = torch.full((n, n), float("inf"), dtype=torch.float64)
    apart[bonds[:, 0], bonds[:, 1]] = 1.0
    apart[bonds[:, 1], bonds[:, 0]] = 1.0
    apart.fill_diagonal_(0.0)
    for way in range(n):
        through = apart[:, way].unsqueeze(1) + apart[way].unsqueeze(0)
        apart = torch.minimum(apart, through)
    return apart


def depths(
    masses: torch.Tensor, beads: torch.Tensor, bonds: torch.Tensor
) -> torch.Tensor:
    """How far out in its bead each atom is expected, (n_atoms,) float64.

    The expected square distance from the bead's centre of mass of atoms joined by
    equal springs, over its mean in the bead, less 1; 0 where an atom is alone.

    Args:
        masses: (n_atoms,) float64 Da.
        beads: (n_atoms,) bead of each atom.
        bonds: (n_bonds, 2) atoms.
    """
    n = masses.size(0)
    values = torch.zeros(n, dtype=torch.float64)
    for bead in range(int(beads.max()) + 1):
        atoms = (beads == bead).nonzero().flatten()
        if atoms.size(0) > 1:
            share = masses[atoms] / masses[atoms].sum()
            centred = torch.eye(len(atoms), dtype=torch.float64) - share.unsqueeze(0)
            springs = torch.linalg.pinv(
                laplacian(atoms.size(0), part(atoms, n, bonds)), hermitian=True
            )
            square = (centred @ springs @ centred.t()).diagonal()
            values[atoms] = square / square.mean() - 1.0
    return values


def type_centres(
    masses: torch.Tensor,
    types: torch.Tensor,
    n_types: int,
    beads: torch.Tensor,
    bonds: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where in a bead the atoms of each type are expected.

    Atoms that stretch equal springs least while every bead has its centre of mass:
    linear in the positions of the beads. See molecules/ for the equations.

    Args:
        masses: (n_atoms,) float64 Da.
        types: (n_atoms,) type of each atom.
        n_types: number of types.
        beads: (n_atoms,) bead of each atom.
        bonds: (n_bonds, 2) atoms.

    Returns:
        Pairs of beads (n, 2), ascending, and their weights (n, n_types) float64.
    """
    n = masses.size(0)
    molecules = components(n, bonds)
    pairs = [torch.zeros(0, 2, dtype=torch.int64)]
    weights = [torch.zeros(0, n_types, dtype=torch.float64)]
    for molecule in range(int(molecules.max()) + 1):
        atoms = (molecules == molecule).nonzero().flatten()
        own, label = torch.unique(beads[atoms], return_inverse=True)
        if own.size(0) > 1:
            ends, shares = _molecule_centres(
                masses[atoms], types[atoms], n_types, label, part(atoms, n, bonds)
            )
            pairs.append(own[ends])
            weights.append(shares)
    ends, shares = torch.cat(pairs), torch.cat(weights)
    order = torch.argsort(ends[:, 0] * n + ends[:, 1])
    return ends[order], shares[order]


def _molecule_centres(
    masses: torch.Tensor,
    types: torch.Tensor,
    n_types: int,
    label: torch.Tensor,
    bonds: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`type_centres` of one molecule of several beads."""
    n, n_beads = masses.size(0), int(label.max()) + 1
    wide = torch.float64
    totals = torch.zeros(n_beads, dtype=wide).index_add(0, label, masses)
    shares = torch.zeros(n_beads, n, dtype=wide)
    shares[label, torch.arange(n)] = masses / totals[label]
    matrix = torch.zeros(n + n_beads, n + n_beads, dtype=wide)
    matrix[:n, :n] = laplacian(n, bonds)
    matrix[n:, :n], matrix[:n, n:] = shares, shares.t()
    given = torch.zeros(n + n_beads, n_beads, dtype=wide)
    given[n:] = torch.eye(n_beads, dtype=wide)
    expected = torch.linalg.solve(matrix, given)[:n]  # (n, n_beads)
    kind = label * n_types + types
    sums = torch.zeros(n_beads * n_types, n_beads, dtype=wide)
    counts = torch.zeros(n_beads * n_types, 1, dtype=wide)
    sums = sums.index_add(0, kind, expected)
    counts = counts.index_add(0, kind, torch.ones(n, 1, dtype=wide))
    weights = sums / counts.clamp(min=1.0)
    weights = weights.view(n_beads, n_types, n_beads).transpose(1, 2)
    is_kept = (weights.abs().amax(dim=2) > 1e-3) & ~torch.eye(n_beads, dtype=torch.bool)
    return is_kept.nonzero(), weights[is_kept]
