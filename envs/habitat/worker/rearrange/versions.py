"""Which habitat-lab goes with which habitat-sim."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

# Later ones read `Simulator.sensors`, which habitat-sim has from 0.3.4 on; before it was private.
LAST_OLD_LAB, FIRST_NEW_SIM = "0.3.320250127", "0.3.4"
PAIRS = (
    "habitat-sim 0.3.3 (conda's) with habitat-lab 0.3.320250127, "
    "habitat-sim 0.3.4 or newer with habitat-lab 0.3.320260507"
)


def installed_lab() -> str:
    """The version of habitat-lab that pip installed; empty for a checkout of its sources."""
    try:
        return version("habitat-lab")
    except PackageNotFoundError:
        return ""


def check_versions(lab: str, sim: str) -> None:
    """Reject a habitat-sim that this habitat-lab cannot drive.

    Args:
        lab: version of habitat-lab, such as 0.3.320260507; what is no such version passes.
        sim: version of habitat-sim, such as 0.3.3.

    Raises:
        ImportError: they do not go together; the message names the pairs that do.
    """
    if not lab or not sim:
        return
    new_lab = _numbers(lab) > _numbers(LAST_OLD_LAB)
    new_sim = _numbers(sim) >= _numbers(FIRST_NEW_SIM)
    if new_lab != new_sim:
        wanted = f"{FIRST_NEW_SIM} or newer" if new_lab else f"older than {FIRST_NEW_SIM}"
        other = "0.3.320260507" if new_sim else LAST_OLD_LAB
        raise ImportError(
            f"habitat-lab {lab} needs a habitat-sim {wanted}, and this interpreter has {sim}; "
            f"install the habitat-lab that goes with it: pip install habitat-lab=={other}. "
            f"The pairs are: {PAIRS}"
        )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
