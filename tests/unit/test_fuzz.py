"""Damaged files of every kind: data that passed a check, or one line (fuzzing.py).

Ten seconds by default; CGML_FUZZ_SECONDS=3600 tries an hour, CGML_FUZZ_SEED=1000
begins with other files.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = float(os.environ.get("CGML_FUZZ_SECONDS", "10"))
SEED = os.environ.get("CGML_FUZZ_SEED", "0")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the process")
def test_damaged_files_give_sound_data_or_one_line(tmp_path):
    paths = [str(TESTS.parent), str(TESTS), str(TESTS / "workflows")]
    done = subprocess.run(
        [sys.executable, str(TESTS / "fuzzing.py"), str(tmp_path), str(SECONDS), SEED],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 600.0,
    )
    last = (tmp_path / "seed").read_text()
    assert done.returncode == 0, f"crashed at {last}: {done.stderr[-2000:]}"
    *faults, counts = [json.loads(line) for line in done.stdout.splitlines()]
    assert not faults, "\n".join(map(str, faults[:20]))
    assert len(counts) == 33
