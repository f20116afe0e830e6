"""Running many trials, each once, in this process or in several."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from llm4teach.datasets.storage.paths import StoragePath
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import LLM4TeachError, TrialError
from llm4teach.flows.experiments.train_trial import run_trial
from llm4teach.flows.experiments.trial import Trial, find_trial, stored_trials, teacher_of
from llm4teach.flows.runtime.prefect_env import prepare_environment
from llm4teach.flows.runtime.progress import silenced, stage


def run_trials(title: str, wanted: Sequence[Trial], workspace: Workspace, jobs: int) -> list[str]:
    """Run the trials that are not complete in the workspace, and return each one's run.

    Args:
        title: of the progress that is shown.
        wanted: all of this workspace; the same one may be wanted several times.
        workspace: where they are and go.
        jobs: processes to train in; 1 is this one.

    Raises:
        TeacherError, TaskError: a trial's teacher or task does not exist.
        TrialError: a trial failed. What is complete stays, what is not is taken up the next time.
    """
    stored = stored_trials(workspace)
    identities = [trial.identity(teacher_of(trial.settings)) for trial in wanted]
    keys = [json.dumps(identity, sort_keys=True) for identity in identities]
    trials = {key: i for i, key in reversed(list(enumerate(keys)))}  # where each stands first
    runs = {i: find_trial(wanted[i], identities[i], stored) for i in trials.values()}
    run_ids = {i: run.run_id for i, run in runs.items() if run and run.complete}
    to_do = sorted(set(runs) - set(run_ids))
    with stage(title, len(trials), "trials") as shown:
        shown.at(len(trials) - len(to_do))
        shown.summary = f"{len(trials)} trials, {len(trials) - len(to_do)} of them known"

        def on_done(i: int, run_id: str) -> None:
            run_ids[i] = run_id
            shown.advance()

        unfinished = {i: run.run_id for i in to_do if (run := runs[i])}
        work = [(i, wanted[i], unfinished.get(i)) for i in to_do]
        if jobs == 1 or len(work) <= 1:
            for i, trial, run_id in work:
                on_done(i, _run(trial, run_id))
        else:
            _run_in_processes(work, min(jobs, len(work)), workspace, on_done)
    return [run_ids[trials[key]] for key in keys]


def _run(trial: Trial, run_id: str | None) -> str:
    try:
        with silenced():
            return run_trial(trial, run_id)
    except Exception as error:
        kind = "" if isinstance(error, LLM4TeachError) else f"{type(error).__name__}: "
        where = f"{trial.method.name} on {trial.settings.task}, seed {trial.settings.seed}"
        raise TrialError(f"{where}: {kind}{error}") from error


def _run_in_processes(
    work: Sequence[tuple[int, Trial, str | None]],
    jobs: int,
    workspace: Workspace,
    on_done: Callable[[int, str], None],
) -> None:
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half-way
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers' libraries read it when they start
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (reader, workspace.root))
    try:
        futures = {pool.submit(_run, trial, run_id): i for i, trial, run_id in work}
        for future in as_completed(futures):
            on_done(futures[future], future.result())
        pool.shutdown()  # so that they end in order and leave no semaphores of d3rlpy's behind
    except BrokenProcessPool:
        raise TrialError(
            "a process that trained was killed (is there too little memory for so many jobs?); "
            "what it had done is kept: repeat the command to go on"
        ) from None
    finally:
        writer.close()  # which ends what is still being worked on
        pool.shutdown(cancel_futures=True)


def _start_worker(parent: Connection, workspace: StoragePath) -> None:
    """Prepare a process for its first trial: it ends when the other end of the pipe is closed.

    That happens when the work is over or given up, and also when the parent is killed. All files
    are written atomically, so that nothing needs to be put in order.
    """

    def watch() -> None:
        try:
            parent.recv()
        except EOFError:
            os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent acts
    threading.Thread(target=watch, daemon=True).start()
    prepare_environment(workspace)
