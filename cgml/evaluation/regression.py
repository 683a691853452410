"""Two small networks that predict properties of a molecule from its bond graph alone.

They see no positions and no dynamics: what they reach is what the chemistry alone
gives away.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order
from torch import nn

from cgml.molecules.graph import MolecularGraph, type_index

Floats = NDArray[np.float64]
Data = tuple[Sequence[MolecularGraph], Floats]
"""Graphs, and targets (n_graphs, n_targets)."""
Encoded = tuple[torch.Tensor, torch.Tensor]
"""Type indices (n_atoms,), and bonds (n_bonds, 2), of one molecule."""


@dataclass(frozen=True)
class NetworkOptions:
    """Size and training of both networks.

    Attributes:
        width: of all features.
        n_rounds: rounds of messages of the graph network, its reach in bonds.
        n_members: networks trained from other weights and averaged.
        n_epochs: most epochs.
        patience: epochs without a better validation error before it stops.
        n_batch: molecules in a batch.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        seed: of weights and batches.
    """

    width: int = 48
    n_rounds: int = 5
    n_members: int = 3
    n_epochs: int = 80
    patience: int = 30
    n_batch: int = 20
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    seed: int = 0


class GraphNetwork(nn.Module):
    """Messages along bonds, then the mean over the atoms.

    Args:
        n_types: particle types.
        n_targets: numbers predicted.
        options: sizes.
    """

    def __init__(self, n_types: int, n_targets: int, options: NetworkOptions) -> None:
        super().__init__()
        width = options.width
        self.types = nn.Embedding(n_types, width)
        self.messages = nn.ModuleList(
            [nn.Linear(width, width) for _ in range(options.n_rounds)]
        )
        self.updates = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Linear(2 * width, width),
                    nn.SiLU(),
                    nn.Linear(width, width),
                    nn.LayerNorm(width),
                )
                for _ in range(options.n_rounds)
            ]
        )
        self.readout = _readout(width, n_targets)

    @staticmethod
    def encode(graph: MolecularGraph, names: Sequence[str]) -> Encoded:
        """Make tensors of a graph."""
        return (
            torch.from_numpy(type_index(graph, names)),
            torch.from_numpy(graph.bonds.copy()),
        )

    def forward(self, molecules: Sequence[Encoded]) -> torch.Tensor:
        """Predict (n_molecules, n_targets) in training units."""
        sizes = torch.tensor([len(types) for types, _ in molecules])
        starts = (sizes.cumsum(0) - sizes).tolist()
        bonds = torch.cat(
            [bonds + n for (_, bonds), n in zip(molecules, starts, strict=True)]
        )
        sender = torch.cat((bonds[:, 0], bonds[:, 1]))
        receiver = torch.cat((bonds[:, 1], bonds[:, 0]))
        nodes = self.types(torch.cat([types for types, _ in molecules]))
        for message, update in zip(self.messages, self.updates, strict=True):
            sent = message(nodes).index_select(0, sender)
            total = torch.zeros_like(nodes).index_add(0, receiver, sent)
            nodes = nodes + update(torch.cat((nodes, total), dim=1))
        index = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        pooled = torch.zeros(len(sizes), nodes.shape[1]).index_add(0, index, nodes)
        return _predict(self.readout, pooled / sizes[:, None])


class SequenceNetwork(nn.Module):
    """An LSTM along the chain, read from both ends and averaged.

    The average makes a chain and its reverse the same molecule, exactly.

    Args:
        n_types: particle types.
        n_targets: numbers predicted.
        options: sizes.
    """

    def __init__(self, n_types: int, n_targets: int, options: NetworkOptions) -> None:
        super().__init__()
        self.types = nn.Embedding(n_types, options.width)
        self.lstm = nn.LSTM(options.width, options.width, batch_first=True)
        self.readout = _readout(options.width, n_targets)

    @staticmethod
    def encode(graph: MolecularGraph, names: Sequence[str]) -> Encoded:
        """Make tensors of a chain, atoms in order."""
        types = type_index(graph, names)[chain_order(graph)]
        return torch.from_numpy(types), torch.from_numpy(graph.bonds.copy())

    def forward(self, molecules: Sequence[Encoded]) -> torch.Tensor:
        """Predict (n_molecules, n_targets) in training units."""
        chains = [types for types, _ in molecules]
        both = [*chains, *(chain.flip(0) for chain in chains)]
        sizes = torch.tensor([len(chain) for chain in both])
        padded = nn.utils.rnn.pad_sequence(both, batch_first=True)
        hidden, _ = self.lstm(self.types(padded))  # (2 n_graphs, longest, width)
        mask = torch.arange(padded.shape[1])[None] < sizes[:, None]
        pooled = (hidden * mask[..., None]).sum(dim=1) / sizes[:, None]
        return _predict(self.readout, pooled).view(2, len(chains), -1).mean(dim=0)


def is_chain(graph: MolecularGraph) -> bool:
    """Whether a graph is one unbranched chain."""
    degree = np.bincount(graph.bonds.ravel(), minlength=graph.n_atoms)
    is_tree = graph.n_molecules == 1 and len(graph.bonds) == graph.n_atoms - 1
    return is_tree and int(degree.max(initial=0)) <= 2


def chain_order(graph: MolecularGraph) -> NDArray[np.int64]:
    """Return the atoms of an unbranched chain from one end to the other.

    Args:
        graph: one molecule.

    Raises:
        ValueError: several molecules, branches or rings.

    Example:
        >>> chain = MolecularGraph.create("ABC", [1.0] * 3, [[0, 2], [2, 1]])
        >>> chain_order(chain).tolist()
        [0, 2, 1]
    """
    degree = np.bincount(graph.bonds.ravel(), minlength=graph.n_atoms)
    ends = np.flatnonzero(degree <= 1)
    if not is_chain(graph):
        raise ValueError(
            "one unbranched chain is required, got a graph of "
            f"{graph.n_molecules} molecules, {graph.n_atoms} atoms, {len(graph.bonds)} "
            f"bonds and at most {degree.max(initial=0)} bonds on an atom"
        )
    first, second = graph.bonds.T
    n = graph.n_atoms
    matrix = coo_array((np.ones(n - 1), (first, second)), shape=(n, n)).tocsr()
    order = breadth_first_order(
        matrix, ends[0], directed=False, return_predecessors=False
    )
    return np.asarray(order, dtype=np.int64)


def fit(
    kind: type[GraphNetwork] | type[SequenceNetwork],
    train: Data,
    validation: Data,
    graphs: Sequence[MolecularGraph],
    options: NetworkOptions,
) -> Floats:
    """Train the members, and predict their mean.

    Args:
        kind: of network.
        train: molecules to fit.
        validation: other molecules, for early stopping.
        graphs: molecules to predict.
        options: of network and training.

    Returns:
        (n_graphs, n_targets), in the units of the targets.

    Raises:
        ValueError: a sequence network of what is no unbranched chain.
    """
    names = sorted({name for graph in train[0] for name in graph.types})
    mean, scale = train[1].mean(axis=0), train[1].std(axis=0) + 1e-12
    encoded = [
        [kind.encode(graph, names) for graph in some]
        for some in (train[0], validation[0], graphs)
    ]
    wanted = [
        torch.from_numpy((targets - mean) / scale).float()
        for targets in (train[1], validation[1])
    ]
    generator = torch.Generator().manual_seed(options.seed)
    results = []
    for _ in range(options.n_members):
        with torch.random.fork_rng(devices=[]):
            network = kind(len(names), train[1].shape[1], options)
        _initialise(network, generator)
        _train(network, encoded, wanted, options, generator)
        with torch.inference_mode():
            results.append(network(encoded[2]).double().numpy() * scale + mean)
    return np.asarray(np.mean(results, axis=0))


def _train(
    network: nn.Module,
    encoded: Sequence[Sequence[Encoded]],
    wanted: Sequence[torch.Tensor],
    options: NetworkOptions,
    generator: torch.Generator,
) -> None:
    """Leave the network with the weights of its best validation error.

    Args:
        network: changed in place.
        encoded: training and validation molecules.
        wanted: their targets in training units.
        options: epochs, batches.
        generator: order of the batches.
    """
    optimiser = torch.optim.AdamW(
        network.parameters(), options.learning_rate, weight_decay=options.weight_decay
    )
    best, best_loss, waited = deepcopy(network.state_dict()), float("inf"), 0
    for _ in range(options.n_epochs):
        order = torch.randperm(len(encoded[0]), generator=generator)
        for batch in torch.split(order, options.n_batch):
            optimiser.zero_grad()
            guess = network([encoded[0][i] for i in batch.tolist()])
            torch.autograd.backward(nn.functional.mse_loss(guess, wanted[0][batch]))
            optimiser.step()
        with torch.inference_mode():
            loss = float(nn.functional.mse_loss(network(encoded[1]), wanted[1]))
        waited += 1
        if loss < best_loss:
            best, best_loss, waited = deepcopy(network.state_dict()), loss, 0
        if waited > options.patience:
            break
    network.load_state_dict(best)


def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights from a generator of our own (Glorot); biases are zero."""
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter, generator=generator)
        elif name.rsplit(".", maxsplit=1)[-1].startswith("bias"):
            nn.init.zeros_(parameter)


def _readout(width: int, n_targets: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, width), nn.SiLU(), nn.Linear(width, n_targets)
    )


def _predict(readout: nn.Module, pooled: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = readout(pooled)
    return result
