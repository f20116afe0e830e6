"""Compiling a task's kernels before the first stage, which is told about if it takes long."""

from __future__ import annotations

import sys
import time
from threading import Event, Thread

import numpy as np

from llm4teach.envs.task import Task
from llm4teach.flows.runtime.progress import is_quiet

PATIENCE_S = 2.0  # of CPU time: from the cache it takes half of that, however busy the machine is
NOTICE = "compiling the environments, once on this machine; this takes half a minute …"


def warm_up(task: Task) -> None:
    """Step, identify and ground once, so that everything is compiled or read from the cache."""
    done, began = Event(), time.process_time()

    def tell() -> None:
        while not done.wait(0.2):
            if time.process_time() - began > PATIENCE_S:
                print(NOTICE, file=sys.stderr, flush=True)
                return

    if not is_quiet():
        Thread(target=tell, daemon=True).start()
    try:
        envs = task.make_vector_env(1)
        observations, _ = envs.reset(seed=0)
        observations, *_ = envs.step(np.zeros(1, np.int64))
        state = task.state(int(task.identify(observations)[0]))
        mixture = tuple((plan, 1.0) for plan in state.options[:1])  # a state may have no plan
        task.ground(observations, (mixture,), np.zeros(1, np.int64))
        envs.close()
    finally:
        done.set()
