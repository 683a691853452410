"""Model steps on a GPU, eager and recorded, beside packed OpenMM MD on the same card.

    python benchmarks/gpu.py [--rounds 20] [--chains 40 400 4000] [--boxes 1 10 100]

Wall times, medians of the rounds, the device waited for. Chains are random copolymers
of 100 atoms (model copolymer-chain), boxes the polymer electrolyte repeated as replicas
(model polymer-electrolyte). First come the card's rates of matrix products, last how
far eager, recorded and CPU steps are apart.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import torch
from chains import TIME_STEP
from electrolyte import SEQUENCE, Box, start_md, start_model
from numpy.typing import NDArray
from openmm import unit

from cgml.dynamics.propagator import Propagator
from cgml.models.file import load_model
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel
from cgml.spec import Execution
from openmm_cgml.convert import graph_from_topology
from openmm_cgml.testsystems import (
    copolymer_chain,
    packed_chains,
    polymer_electrolyte,
    random_sequence,
)
from openmm_cgml.testsystems.electrolyte_protocol import ElectrolyteProtocol
from openmm_cgml.testsystems.electrolyte_runs import electrolyte_simulation

N_KINDS = 40  # different chains; more are repeats
SAME = 1e-5  # nm, bar of the agreement of steps
Work = Callable[[], object]


def median_ms(work: Work, rounds: int) -> float:
    """Wall time of a call, ms, the device waited for."""
    for _ in range(3):
        work()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times))


def print_rates(rounds: int) -> None:
    """Print what the card multiplies in a second."""
    for name, dtype, tf32 in (
        ("float32", torch.float32, False),
        ("TF32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        one, other = torch.randn(2, 8192, 8192, device="cuda").to(dtype)
        ms = median_ms(lambda a=one, b=other: a @ b, rounds)
        print(f"{name:>10} products: {2e-9 * 8192**3 / ms:8.1f} TFLOP/s")
    torch.backends.cuda.matmul.allow_tf32 = False


def md_speed(context: openmm.Context, n_steps: int, time_step: float) -> float:
    """Simulated ps per second of a Context."""
    integrator = context.getIntegrator()
    integrator.step(n_steps)
    context.getState(energy=True)
    begin = time.perf_counter()
    integrator.step(n_steps)
    context.getState(energy=True)  # waits for the steps
    return n_steps * time_step / (time.perf_counter() - begin)


def chains_md(n: int, sequences: list[str], temperature: float) -> str:
    """Packed MD of all chains on the card."""
    packed = packed_chains([sequences[i % len(sequences)] for i in range(n)])
    integrator = openmm.LangevinMiddleIntegrator(
        temperature, 0.5 / unit.picosecond, TIME_STEP * unit.picosecond
    )
    platform = openmm.Platform.getPlatformByName("CUDA")
    context = openmm.Context(packed.system, integrator, platform)
    context.setPositions(packed.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=100)
    return f"{md_speed(context, 2000, TIME_STEP):9.2f} ps/s"


def report(
    title: str,
    model: LearnedModel,
    mappings: list[Mapping],
    start: NDArray[np.float64],
    box: NDArray[np.float64] | None,
    rounds: int,
) -> None:
    """Print step times of some systems, and how far the ways are apart."""

    def bound(device: str, **more: Any) -> Propagator:
        return Propagator(
            model, mappings, box=box, guard="record", device=device, **more
        )

    torch.cuda.reset_peak_memory_stats()
    eager = bound("cuda")
    recorded = bound("cuda", execution=Execution(capture=True))
    ends, times = {}, {}
    for name, propagator in (("eager", eager), ("recorded", recorded)):
        state = propagator.start(start)
        ends[name] = propagator.step(state).positions.cpu()
        times[name] = median_ms(lambda p=propagator, s=state: p.step(s), rounds)
    stepper: Any = eager._stepper
    positions = eager.start(start).positions
    search = median_ms(lambda: stepper.view(positions.clone()), rounds)
    steps, first = eager.start(start).step, [0] * len(mappings)
    draws = median_ms(lambda: eager._noise.draw(stepper.n_draws, steps, first), rounds)
    apart = float((ends["eager"] - ends["recorded"]).abs().max())
    speeds = {name: model.spec.time_step / ms * 1e3 for name, ms in times.items()}
    print(
        f"{title:>12}: eager {times['eager']:8.2f} ms, recorded "
        f"{times['recorded']:8.2f} ms ({speeds['recorded']:9.1f} ps/s), search "
        f"{search:7.2f} ms, noise {draws:7.2f} ms, "
        f"{torch.cuda.max_memory_allocated() / 2**20:6.0f} MiB, eager - recorded "
        f"{apart:.1e} nm{'' if apart < SAME else ' (TOO FAR)'}",
        flush=True,
    )
    if len(start) <= 2000:
        alone = bound("cpu", execution=Execution(compiled=False))
        end = alone.step(alone.start(start)).positions
        print(
            f"{'':>12}  CPU - eager {float((end - ends['eager']).abs().max()):.1e} nm"
        )


def chains(counts: list[int], rounds: int) -> None:
    """Chains beside packed MD of them."""
    model, rng = load_model("copolymer-chain"), np.random.default_rng(0)
    sequences = [random_sequence(100, "II", rng) for _ in range(N_KINDS)]
    systems = [copolymer_chain(sequence) for sequence in sequences]
    kinds = [
        Mapping.from_spec(
            graph_from_topology(item.topology, model.spec.particle_types), model.spec
        )
        for item in systems
    ]
    coils = [m.positions(s.positions) for m, s in zip(kinds, systems, strict=True)]
    for n in counts:
        places = [i % N_KINDS for i in range(n)]
        start = np.concatenate([coils[i] for i in places])
        report(f"{n} chains", model, [kinds[i] for i in places], start, None, rounds)
        if n <= 400:
            md = chains_md(n, sequences, model.spec.temperature)
            print(f"{'':>12}  OpenMM CUDA, packed: {md}", flush=True)


def boxes(counts: list[int], rounds: int) -> None:
    """Replicas of a box beside MD of one."""
    model = load_model("polymer-electrolyte")
    melt = polymer_electrolyte(SEQUENCE, n_chains=24, n_ion_pairs=24)
    box: Box = start_model(model, melt, start_md(melt, 20.0))
    for n in counts:
        cells = np.tile(box.vectors, (n, 1, 1))
        start = np.tile(box.beads, (n, 1))
        report(f"{n} boxes", model, [box.mapping] * n, start, cells, rounds)
    simulation = electrolyte_simulation(melt, ElectrolyteProtocol(platform="CUDA"))
    speed = md_speed(simulation.context, 2000, TIME_STEP)
    print(f"{'':>12}  OpenMM CUDA, one box: {speed:9.2f} ps/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--chains", type=int, nargs="*", default=[40, 400, 4000])
    parser.add_argument("--boxes", type=int, nargs="*", default=[1, 10, 100])
    options = parser.parse_args()
    print(torch.cuda.get_device_name(), torch.__version__, openmm.__version__)
    print_rates(options.rounds)
    boxes(options.boxes, options.rounds)
    chains(options.chains, options.rounds)


if __name__ == "__main__":
    main()
