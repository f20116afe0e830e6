"""Which graphics card habitat-sim renders on."""

from __future__ import annotations

from ctypes.util import find_library
from pathlib import Path

CPU = -1
NVIDIA_DEVICE = Path("/dev/nvidia0")


def gpu_device_id(device: Path = NVIDIA_DEVICE) -> int:
    """Return 0 for the first NVIDIA card, `CPU` where there is none to render on.

    habitat-sim takes the number for a CUDA device, and it ends the process where there is none.
    Cards of other vendors and NVIDIA cards without their EGL library therefore count as none.
    """
    return 0 if device.exists() and find_library("EGL_nvidia") else CPU
