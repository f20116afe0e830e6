"""Compiling a task's kernels before the first stage, which is told about if it takes long."""

from __future__ import annotations

import sys
from threading import Timer

import numpy as np

from llm4teach.envs.task import Task
from llm4teach.flows.progress import is_quiet

PATIENCE_S = 2.0
NOTICE = "compiling the environments, once on this machine; this takes half a minute …"


def warm_up(task: Task) -> None:
    """Step, identify and ground once, so that everything is compiled or read from the cache."""
    notice = Timer(PATIENCE_S, lambda: print(NOTICE, file=sys.stderr, flush=True))
    notice.daemon = True
    if not is_quiet():
        notice.start()
    try:
        envs = task.make_vector_env(1)
        observations, _ = envs.reset(seed=0)
        observations, *_ = envs.step(np.zeros(1, np.int64))
        state = task.state(int(task.identify(observations)[0]))
        task.ground(observations, (((state.options[0], 1.0),),), np.zeros(1, np.int64))
        envs.close()
    finally:
        notice.cancel()
