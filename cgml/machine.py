"""What decides the last bits of a computation: versions, processor, device."""

import os
import platform
import sys
from functools import cache
from pathlib import Path

SWITCHES = (
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
"""Environment variables by which libraries take other instructions."""


@cache
def processor() -> str:
    """Name of this processor, and the instructions that torch uses of it."""
    import torch  # heavy: not for those who only ask for help

    parts = [platform.system(), platform.machine()]
    parts.append(torch.backends.cpu.get_cpu_capability())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return " ".join([*parts, platform.processor()])
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in found.items()}
    return " ".join([*parts, fields.get("model name", "")]).strip()


def kind(device: str = "cpu") -> dict[str, str]:
    """Say what computes here; where all is the same, so are the bits.

    Args:
        device: of the networks, "cpu" or "cuda".
    """
    import torch

    where = processor()
    if device != "cpu":
        where = torch.cuda.get_device_name(device)
    found = [f"{name}={os.environ[name]}" for name in SWITCHES if os.environ.get(name)]
    where = " ".join([where, *found])
    own = sys.modules["cgml"].__version__  # imports point down
    return {"cgml": own, "torch": torch.__version__, "processor": where}
