"""Automations on the Prefect server: label what nobody has seen, start lost runs again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from llm4teach.flows.runtime.settings import ServiceConfig, Settings
from llm4teach.flows.runtime.teacher_access import limit_of

if TYPE_CHECKING:
    from prefect.automations import Automation
    from prefect.events.schemas.automations import EventTrigger

UNSEEN = "llm4teach.states.unseen"  # event of a collection; the payload has task and workspace
_LABEL = "llm4teach: label unseen states"
_LOST, _CRASHED = "llm4teach: start lost runs again", "llm4teach: start crashed runs again"
_TAG = "llm4teach"  # of our deployments; stages within a run do not have it, nor others' runs
_CRASH_PAUSE_S = 60.0  # a worker reports a dead process twice, up to half a minute apart


def ensure_automations(config: ServiceConfig) -> list[str]:
    """Create, update or remove ours on the server; return the names of those that are on."""
    wanted = {
        _LABEL: _label_unseen() if config.relabel_above < 1 else None,
        _LOST: _lost(config.revive_after_s) if config.revive_after_s else None,
        _CRASHED: _crashed(config.revive_times) if config.revive_after_s else None,
    }
    for name, automation in wanted.items():
        _ensure(name, automation)
    return [name for name, automation in wanted.items() if automation is not None]


def _ensure(name: str, automation: Automation | None) -> None:
    from prefect.automations import Automation

    try:
        existing: Any = Automation.read(name=name)
    except ValueError:  # there is none
        existing = None
    if existing is not None:
        existing.delete()
    if automation is not None:
        automation.create()


def _label_unseen() -> Automation:
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import EventTrigger, Posture

    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("label-states/label-states")

    def of_event(name: str) -> dict[str, str]:
        return {"__prefect_kind": "jinja", "template": "{{ event.payload." + name + " }}"}

    return Automation(
        name=_LABEL,
        description="Runs label-states when a collection met many states without advice.",
        trigger=EventTrigger(
            expect={UNSEEN}, posture=Posture.Reactive, threshold=1, within=timedelta(0)
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment.id,
                parameters={"overrides": {name: of_event(name) for name in ("task", "workspace")}},
            )
        ],
    )


def _lost(after_s: float) -> Automation:
    """The worker is gone with its machine: nobody says anything any more."""
    sign = "prefect.flow-run.heartbeat"
    over = {f"prefect.flow-run.{s}" for s in ("Completed", "Failed", "Cancelled", "Crashed")}
    trigger = _missing({sign, *over}, after=sign, for_s=after_s)
    return _reschedule(_LOST, trigger, "it gave no sign of life")


def _crashed(times: int) -> Automation:
    """The run's process died, its worker has said so, and for a while nobody has taken it up.

    Not at once: the second report of one death would mark as crashed what runs again already. And
    a trigger that fires at the event itself is deaf for a time, so that a second death soon after
    the first would be missed.
    """
    taken_up = {f"prefect.flow-run.{s}" for s in ("Pending", "Running", "Completed", "Cancelled")}
    counts = {"prefect.run-count": [str(count + 1) for count in range(times)]}
    crash = "prefect.flow-run.Crashed"
    trigger = _missing(taken_up, after=crash, for_s=_CRASH_PAUSE_S, labels=counts)
    return _reschedule(_CRASHED, trigger, "its process died")


def _missing(
    expected: set[str], after: str, for_s: float, labels: dict[str, list[str]] | None = None
) -> EventTrigger:
    """None of the events has followed within so many seconds, for a run of our deployments."""
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    run = {"prefect.resource.id": ["prefect.flow-run.*"]}
    ours = {"prefect.resource.id": f"prefect.tag.{_TAG}", "prefect.resource.role": "tag"}
    return EventTrigger(
        after={after},
        expect=expected,
        match=ResourceSpecification(run | (labels or {})),
        match_related=ResourceSpecification(ours),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=for_s),
    )


def _reschedule(name: str, trigger: EventTrigger, message: str) -> Automation:
    from prefect.automations import Automation
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState

    again = ChangeFlowRunState(
        state=StateType.SCHEDULED, name="Resuming", message=message, force=True
    )
    what = "A run is scheduled again and goes on where it stopped."
    return Automation(name=name, description=what, trigger=trigger, actions=[again])


def limit_teacher(settings: Settings) -> None:
    """Set how many flow runs may ask the configured server at a time; see `LimitedTeacher`."""
    from prefect.client.orchestration import get_client

    if (name := limit_of(settings.teacher)) is not None:
        with get_client(sync_client=True) as client:
            client.upsert_global_concurrency_limit_by_name(name, settings.service.teacher_runs)
