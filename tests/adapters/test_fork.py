"""Forked processes go on where their parent was, whatever its threads do."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"
)

# large products, that torch's threads share: afterwards the pool of threads is there
START = """
import multiprocessing, sys
import numpy as np, torch
from openmm_systems import chain
from cgml import Mapping, MolecularGraph, Propagator, load_model
model = load_model(sys.argv[1])
assert torch.get_num_threads() > 1 or torch.set_num_threads(2) is None
bonds = [(i, i + 1) for i in range(59)]
graph = MolecularGraph.create("AABBCCDDBBCC" * 5, np.ones(60), bonds)
mapping = Mapping.from_spec(graph, model.spec)
places = np.tile(mapping.positions(np.array(chain().positions)), (150, 1))
"""
OF_ENGINE = """
def end(queue=None):
    propagator = Propagator(model, [mapping] * 150, seed=1, guard="record")
    state = propagator.step(propagator.start(places))
    answer = state.positions.numpy().sum(axis=0).tolist()
    return answer if queue is None else queue.put((answer, torch.get_num_threads()))
"""
AFTER_LOADING = """
def end(queue=None):
    big = torch.ones(700, 700)
    answer = float((big @ big + 1).exp().sum())
    return answer if queue is None else queue.put((answer, torch.get_num_threads()))
"""
BY_PROCESS = """
first = end()
context = multiprocessing.get_context("fork")
queue = context.SimpleQueue()
child = context.Process(target=end, args=(queue,))
child.start()
answer, n_threads = queue.get()
child.join()
assert n_threads == 1, n_threads
assert torch.get_num_threads() > 1
assert answer == first, (answer, first)
"""
BY_POOL = """
first = end()
with multiprocessing.get_context("fork").Pool(1) as pool:
    assert pool.apply_async(end).get() == first
"""


@needs_fork
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fork", [BY_PROCESS, BY_POOL], ids=["Process", "Pool"])
@pytest.mark.parametrize("work", [OF_ENGINE, AFTER_LOADING], ids=["engine", "torch"])
def test_forked_process_gives_the_same_bits(tiny_model, work, fork):
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[1])])
    environment = {
        key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"
    }
    done = subprocess.run(  # without the cure it never ends
        [sys.executable, "-c", START + work + fork, str(tiny_model)],
        env=environment | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
