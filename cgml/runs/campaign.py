"""Runs shared by several processes or machines, with dask.distributed.

The paths of a run are divided into groups, and each group is a task: a worker goes on
from the last part of the group's folder to its end. All workers see the folder of the
run, so a worker that is lost costs one part at most: its group goes to another one,
which finds the parts. The noise of a path depends on the seed and its number alone, so
the files are those of one process, bit for bit.

Workers are told names and numbers, nothing else: they load the model from its file and
the start configurations from the folder of the run, and check both.
"""

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import torch

from cgml import memory
from cgml.files import component
from cgml.formats.trajectory import read_beads, write_beads
from cgml.locks import exclusive
from cgml.memory import keep_freed_memory
from cgml.models.file import load_model
from cgml.molecules.frames import BeadTrajectory
from cgml.plans import read_plan
from cgml.runs import simulation
from cgml.runs.plan import PLAN, RunOptions
from cgml.runs.simulation import PARTS, Job, Outcome

if TYPE_CHECKING:
    from distributed import Client, Future

STARTS = "starts"
NOTICE_INTERVAL = 0.5  # s, between two counts of frames that a worker sends
REACH_TIME = 10.0  # s, to find a scheduler
CONNECTION_TIME = 60.0  # s, to wait for the first worker of a scheduler
WORKER_SIZE = 1 << 28  # bytes that a process takes before it has work


def run(
    model: str | Path,
    systems: Sequence[BeadTrajectory],
    output: Path,
    options: RunOptions,
    on_frame: Callable[[int], None] | None = None,
    *,
    n_workers: int | None = None,
    scheduler: str | None = None,
) -> Outcome:
    """Do a run with several workers; start again with the same call after a kill.

    Each worker uses as many threads as torch does in this process.

    Args:
        model: see `simulation.run`, as for systems, options and on_frame.
        systems: start configurations.
        output: folder of the run; workers on other machines see it, and the model
            file, under the same path.
        options: length and form.
        on_frame: called with the number of frames done.
        n_workers: processes to start here, or tasks for the scheduler; None: one
            process, this one, or as many tasks as the scheduler has workers.
        scheduler: address of a dask scheduler, for example "tcp://node1:8786".

    Returns:
        As `simulation.run`, the same files bit for bit (on processors of one kind).

    Raises:
        ValueError: as `simulation.run`, or dask.distributed is not installed.
        GuardError: see `simulation.run`.
        RuntimeError: a worker was lost again and again.
        OSError: the scheduler cannot be reached, or the disk is full.
    """
    if scheduler is None and n_workers in {None, 1}:
        return simulation.run(model, systems, output, options, on_frame)
    n_paths = len(systems) * options.n_replicas
    if scheduler is None:
        memory.require(
            WORKER_SIZE * min(n_workers or 1, n_paths),
            f"{n_workers} workers",
            "ask for fewer (--workers)",
        )
    elif n_workers is not None:
        with client(1, scheduler):  # it is there; workers may come when there is work
            pass
    n_groups = n_workers or _count_workers(scheduler or "")

    def work(job: Job) -> None:
        write_starts(job)
        with client(len(job.groups), scheduler) as connection:
            _share(job, connection, on_frame)

    with exclusive(output.resolve(), "run"):
        return simulation.conduct(
            model, systems, output.resolve(), options, work, n_groups=n_groups
        )


def _share(job: Job, client: "Client", on_frame: Callable[[int], None] | None) -> None:
    """Have all groups propagated, and tell how far they are."""
    topic = f"cgml-{uuid4().hex}"
    notices: deque[tuple[int, int]] = deque()
    client.subscribe_topic(topic, lambda event: notices.append(event[1]))
    futures = [
        client.submit(
            _propagate,
            str(job.model),
            str(job.output),
            group,
            job.options,
            torch.get_num_threads(),
            topic,
            key=f"{topic}-{group}",
            pure=False,
        )
        for group in range(len(job.groups))
    ]
    try:
        _follow(futures, notices, job.tally(on_frame))
    except BaseException:
        job.release()  # workers that go on stop before their next part
        client.cancel(futures)
        raise
    finally:
        client.unsubscribe_topic(topic)


def _follow(
    futures: "list[Future[None]]",
    notices: deque[tuple[int, int]],
    show: Callable[[int, int], None],
) -> None:
    """Wait for all tasks; the first error of one is raised."""
    from distributed import CancelledError, KilledWorker, wait

    pending = set(futures)
    while pending:
        try:
            done, pending = wait(pending, NOTICE_INTERVAL, "FIRST_COMPLETED")
        except TimeoutError:
            done = set()
        while notices:
            show(*notices.popleft())
        try:
            for future in done:
                future.result()
        except (KilledWorker, CancelledError) as error:
            raise RuntimeError(
                "a part of the run lost its worker again and again, or the scheduler "
                "is gone (is there enough memory?): what is done is kept, run the same "
                "command again to go on"
            ) from error


def _propagate(
    model: str, output: str, group: int, options: RunOptions, n_threads: int, topic: str
) -> None:
    """Do the work of a task, in a worker."""
    from distributed import get_worker

    torch.set_num_threads(n_threads)
    keep_freed_memory()
    job = open_here(Path(model), Path(output), options)
    worker, last = get_worker(), -NOTICE_INTERVAL

    def show(n_frames: int) -> None:
        nonlocal last
        now = time.monotonic()
        if n_frames == options.n_frames or now - last >= NOTICE_INTERVAL:
            worker.log_event(topic, (group, n_frames))
            last = now

    job.propagate(load_model(model, options.device), group, show)


def write_starts(job: Job) -> None:
    """Put the start configurations where all workers find them."""
    folder = job.output / PARTS / STARTS
    folder.mkdir(parents=True, exist_ok=True)
    for system in (replica.system for replica in job.replicas if replica.copy == 0):
        first = replace(
            system,
            positions=system.positions[:1],
            times=system.times[:1],
            observables={},
        )
        write_beads(folder / f"{system.name}.h5md", first)


def open_here(model: Path, output: Path, options: RunOptions) -> Job:
    """Find the run that this worker shall take part in, and check that it is that run.

    Raises:
        ValueError: the folder or the model file is not the one that was meant.
    """
    path = output / PLAN
    if not (path.is_file() and model.is_file()):
        missing = model if path.is_file() else path
        raise ValueError(
            f"there is no {missing} on {socket.gethostname()}: workers must see the "
            "folder of the run and the model file under the paths given"
        )
    plan = read_plan(path)["plan"]
    folder = output / PARTS / STARTS
    names = [component(str(name), "a system") for name, *_ in plan["systems"]]
    systems = [read_beads(folder / f"{name}.h5md") for name in names]
    return simulation.open_job(model, systems, output, options)[0]


def _count_workers(scheduler: str) -> int:
    """Tasks that the workers of a scheduler can do at once.

    Raises:
        OSError: the scheduler is not there, or has no workers.
    """
    with client(1, scheduler) as connection:
        try:
            connection.wait_for_workers(1, timeout=CONNECTION_TIME)
        except TimeoutError as error:
            raise OSError(
                f"the dask scheduler at {scheduler} has no workers after "
                f"{CONNECTION_TIME:g} s: start some, with dask worker {scheduler}"
            ) from error
        return sum(connection.nthreads().values())


@contextmanager
def client(n_workers: int, scheduler: str | None) -> Iterator["Client"]:
    """Connect to a scheduler, or to processes started for the purpose."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(
            "several workers need dask.distributed: pip install 'cgml[dask]'"
        ) from error
    if scheduler is not None:
        try:
            connection = Client(scheduler, set_as_default=False, timeout=REACH_TIME)
        except (OSError, ValueError, TypeError) as error:
            raise OSError(
                f"no dask scheduler was found at {scheduler!r} within {REACH_TIME:g} s "
                f"({error}): an address is like tcp://node1:8786"
            ) from error
        with connection, connection.as_current():
            yield connection
        return
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as connection,
        connection.as_current(),  # else `wait` asks for the default one
    ):
        yield connection
