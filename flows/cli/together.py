"""Several processes for one command: torchrun starts them, the first runs it, the others help."""

from __future__ import annotations

import os
from collections.abc import Callable


def run_together(command: Callable[[], int]) -> int:
    """Run a command, with the help of the processes that torchrun has started beside this one.

    They share its gradient steps; everything else, such as questions to the teacher and files, is
    done by the first alone.

    Returns:
        The command's exit status; 0 on the others.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return command()
    from llm4teach.student.training.distributed import join, leave
    from llm4teach.student.training.worker import follow

    crew = join()
    try:
        if crew.rank == 0:
            return command()
        follow()
        return 0
    finally:
        leave()
