"""8. Simulate reference MD of a real polymer electrolyte: PEO with LiTFSI at 423 K.

    python examples/8_simulate_peo_litfsi.py [--box NAME] [--output FOLDER] [--core N]
    python examples/8_simulate_peo_litfsi.py --box NAME --beads FOLDER [--stride N]
    python examples/8_simulate_peo_litfsi.py --box NAME --resume data/peo_litfsi

United atoms, about 300 ns/day on one thread; one box has all atoms, a sixth as fast.
Every box has a folder in the output, with its state and a trajectory of unwrapped atoms
in segments of 50 ps: after a kill, the same command goes on where it was. `--box all`
takes all boxes in turn, and skips those that are finished or that another process has:
start it once per core. The second command reduces what is simulated so far to beads, a
CH2-O-CH2, a Li or a TFSI each. The third goes on where frames of beads end, in a new
folder of the output. The default is one tiny box.
"""

import argparse
import fcntl
import os
import time
from pathlib import Path
from typing import TextIO

from openmm_cgml.testsystems.peo_archive import resume, write_beads
from openmm_cgml.testsystems.peo_protocol import density
from openmm_cgml.testsystems.peo_runs import PeoBox, PeoRun, PeoTimes

BOXES = (  # in this order: training can begin with the first few
    PeoBox("train", 16, 8, 20, 4.0, 1),  # these two span both lengths and both salts
    PeoBox("train", 8, 16, 10, 4.0, 2),
    PeoBox("train", 32, 4, 16, 4.0, 3),
    PeoBox("train", 10, 13, 13, 4.0, 4),
    PeoBox("train", 16, 8, 10, 4.0, 5),
    PeoBox("train", 8, 16, 20, 4.0, 6),
    # chains of a length that is trained on, an amount of salt that is not; and no box
    # of the test, so that nothing is chosen by the test
    PeoBox("validation", 16, 8, 14, 13.0, 7),
    PeoBox("test", 8, 16, 14, 20.0, 8),
    PeoBox("test", 5, 26, 13, 20.0, 9),  # chains longer than any of the training
    PeoBox("test", 8, 16, 10, 20.0, 10),  # as in training, from another start
    # with hydrogens, a sixth as fast: what united atoms get wrong
    PeoBox("atoms", 8, 16, 10, 3.0, 11, "all-atom"),
)
TINY = PeoBox("tiny", 20, 4, 16, 0.004, 0)
TINY_TIMES = PeoTimes(segment=1.0, interval=0.2, pressing=3.0, ageing=1.0, kept=4.0)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [box.name for box in (TINY, *BOXES)]
    parser.add_argument("--box", choices=["all", *names], default=TINY.name)
    parser.add_argument("--output", type=Path, default=Path("peo_litfsi"))
    parser.add_argument("--core", type=int, help="run on this processor core alone")
    parser.add_argument("--platform", default="CPU", help="of OpenMM")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU platform")
    parser.add_argument("--beads", type=Path, help="reduce to beads, into this folder")
    parser.add_argument("--stride", type=int, default=1, help="of frames of beads")
    parser.add_argument(
        "--resume", type=Path, help="go on from the frames of beads there"
    )
    return parser.parse_args()


def log(text: str) -> None:
    print(time.strftime("%m-%d %H:%M:%S"), text, flush=True)


def claimed(folder: Path) -> TextIO | None:
    """Claim a box until this process ends, however it does; None: another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    stream = (folder / "claim").open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream


def simulate(box: PeoBox, folder: Path, platform: str, n_threads: int) -> None:
    times = TINY_TIMES if box == TINY else PeoTimes.of(box)
    log(f"{box.name}: {box.n_chains} chains, {box.n_salt} LiTFSI, into {folder}")
    run = PeoRun(box, times, folder, platform, n_threads)
    start, n_before = time.monotonic(), run.n_done
    while not run.is_finished:
        stage = run.advance()
        seconds = (time.monotonic() - start) / (run.n_done - n_before)  # a segment
        temperature, energy = run.record["history"][-1]
        log(
            f"{box.name} {stage} {run.n_done}/{times.n_segments}: "
            f"{temperature:.1f} K, {energy:.0f} kJ/mol, "
            f"{density(run.system, run.edge):.4f} g/cm3, "
            f"{86.4 * times.segment / seconds:.0f} ns/day, "
            f"{(times.n_segments - run.n_done) * seconds / 60.0:.0f} min left"
        )
    log(f"{box.name}: finished")


def main(options: argparse.Namespace) -> None:
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    for box in BOXES if options.box == "all" else (TINY, *BOXES):
        folder = options.output / box.name
        if options.box not in ("all", box.name):
            continue
        if options.beads is not None:
            path = write_beads(folder, options.beads, stride=options.stride)
            log(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
            continue
        claim = claimed(folder)
        if claim is None:
            log(f"{box.name}: another process has it")
            continue
        with claim:
            if options.resume is not None:
                resume(options.resume / f"{box.name}.xtc", folder)
            simulate(box, folder, options.platform, options.threads)


if __name__ == "__main__":
    main(parse_options())
