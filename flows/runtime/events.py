"""Events for Prefect's automations, where there is a server to tell them to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm4teach.flows.runtime.prefect_env import has_own_server


def emit(event: str, resource: str, payload: Mapping[str, Any]) -> None:
    """Tell the server; nothing where runs report to a temporary one, which nobody watches."""
    if not has_own_server():
        return
    from prefect.events import emit_event

    emit_event(event=event, resource={"prefect.resource.id": resource}, payload=dict(payload))
