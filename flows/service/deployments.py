"""The deployments of prefect.yaml, with parameters and schedules from the settings.

``llm4teach serve`` serves them; ``python -m llm4teach.flows.service.deployments`` registers them
with the server that the environment names. Their settings come as JSON on stdin or, where that is
empty, from the environment and llm4teach.toml.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from llm4teach.errors import ConfigError
from llm4teach.flows.runtime.settings import ServiceConfig, Settings, load_settings

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

POOL = "local"


@dataclass(frozen=True)
class Deployment:
    """One flow under the name by which people run it."""

    name: str
    description: str
    tags: tuple[str, ...]
    entrypoint: str  # module:flow

    def flow(self) -> Flow[..., Any]:
        """Import the flow."""
        module, _, name = self.entrypoint.partition(":")
        flow: Flow[..., Any] = getattr(import_module(module), name)
        return flow


def _listed() -> Iterator[Deployment]:
    """Yield what prefect.yaml lists."""
    text = Path(__file__).with_name("prefect.yaml").read_text(encoding="utf-8")
    for entry in yaml.safe_load(text)["deployments"]:
        about = (entry["name"], entry["description"], tuple(entry["tags"]), entry["entrypoint"])
        yield Deployment(*about)


DEPLOYMENTS = tuple(_listed())


def parameters_of(deployment: Deployment, settings: Settings) -> dict[str, Any]:
    """What the flow is started with unless a run says otherwise: the settings.

    Those that have their default are left out, so that the form shows the defaults as such.
    """
    workspace = settings.workspace
    if "://" not in workspace:  # wherever a worker was started
        workspace = str(Path(workspace).expanduser().resolve())
    if deployment.name == "experiment":  # it has settings of its own
        return {"name": "ablation", "settings": {"workspace": workspace}}
    changed = settings.model_dump(mode="json", exclude_defaults=True)
    return {"settings": {**changed, "workspace": workspace}}


def schedule_of(name: str, config: ServiceConfig) -> dict[str, Any]:
    """The schedule as arguments of `Flow.to_deployment`; empty where there is none.

    Raises:
        ConfigError: an expression or the time zone is not valid.
    """
    from prefect.schedules import Cron, Interval, RRule

    zone = config.timezone
    try:
        if name == "check-champion":
            chosen = Cron(config.check_cron, timezone=zone) if config.check_cron else None
        elif name != "retrain":
            chosen = None
        elif config.retrain_cron:
            chosen = Cron(config.retrain_cron, timezone=zone)
        elif config.retrain_every_s:
            chosen = Interval(config.retrain_every_s, timezone=zone)
        elif config.retrain_rrule:
            chosen = RRule(config.retrain_rrule, timezone=zone)
        else:
            chosen = None
        if chosen is not None:
            _check(chosen)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"the schedule of {name} is not valid: {error}") from None
    return {"schedule": chosen} if chosen is not None else {}


def _check(schedule: Any) -> None:
    """Let Prefect's own schema look at it, before a server does."""
    from prefect.client.schemas.schedules import construct_schedule

    construct_schedule(
        interval=schedule.interval,
        cron=schedule.cron,
        rrule=schedule.rrule,
        timezone=schedule.timezone,
    )


def runner_deployments(settings: Settings, pool: str | None) -> list[RunnerDeployment]:
    """All deployments, for a work pool's workers or, without one, for this process.

    Raises:
        ConfigError: a schedule is not valid.
    """
    from prefect.types.entrypoint import EntrypointType

    made = [
        deployment.flow().to_deployment(
            deployment.name,
            description=deployment.description,
            tags=list(deployment.tags),
            parameters=parameters_of(deployment, settings),
            work_pool_name=pool,
            entrypoint_type=EntrypointType.MODULE_PATH,
            **schedule_of(deployment.name, settings.service),
        )
        for deployment in DEPLOYMENTS
    ]
    return cast("list[RunnerDeployment]", made)  # not awaitable where no loop runs


def prepare_server(settings: Settings) -> list[str]:
    """Automations and limits, once the deployments are there; return the automations' names."""
    from llm4teach.flows.service.automations import ensure_automations, limit_teacher

    limit_teacher(settings)
    return ensure_automations(settings.service)


def serve_all(settings: Settings) -> None:
    """Serve every deployment from this process, until it is interrupted.

    Flow runs are processes of their own. At the end, schedules rest until the next start.
    """
    from prefect import serve

    # Of Prefect's own handling of SIGTERM, which ends all the same as it should.
    warnings.filterwarnings("ignore", "coroutine 'Runner.astop' was never awaited")

    served = runner_deployments(settings, pool=None)
    for deployment in served:
        deployment.apply()
    prepare_server(settings)
    names = ", ".join(deployment.name for deployment in DEPLOYMENTS)
    run = "PREFECT_PLUGINS_ENABLED=1 prefect deployment run label-states"
    print(f"serving {names}\nstart one: {run} (Ctrl-C ends it)")
    serve(*served, print_starting_message=False)


def register(settings: Settings) -> None:
    """Create the work pool, if it is missing, then deployments, automations and limits."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    for deployment in runner_deployments(settings, POOL):
        deployment.apply()
    prepare_server(settings)


if __name__ == "__main__":
    content = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    register(Settings.model_validate_json(content) if content.strip() else load_settings({}))
