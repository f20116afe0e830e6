"""Labels three states, and one too long, with the backend ``vllm``; for test_real_vllm.py.

Runs in vLLM's environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from llm4teach.envs.plan import parse_plan
from llm4teach.envs.registry import get_task
from llm4teach.envs.task import State
from llm4teach.errors import TeacherError
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.elicitation.token_counts import tokens_of
from llm4teach.teacher_labeling.factory import make_teacher

FAMILY = "SimpleDoorKey"
TOO_LONG = State(
    "long",
    "Agent sees <key>" + ", <key>" * 3000 + ".",
    (parse_plan("explore"), parse_plan("drop key")),
)


def main(settings: dict[str, Any], output: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    for method in ("logprobs", "sampling", "verbalized"):
        teacher = make_teacher(TeacherConfig(method=method, n_samples=3, **settings), FAMILY)
        counts = tokens_of(teacher, get_task(FAMILY).example_states())
        advice_of, refused = {}, ""
        first, *others = get_task(FAMILY).example_states()
        try:
            for advice in teacher.advise([first, TOO_LONG, *others]):
                advice_of[advice.state.key] = {
                    "status": advice.status.value,
                    "plans": {str(plan): p for plan, p in advice.plans},
                    "coverage": advice.coverage,
                    "n_replies": len(advice.replies),
                    "prompt_tokens": advice.prompt_tokens,
                    "completion_tokens": advice.completion_tokens,
                }
        except TeacherError as error:
            refused = f"{sorted(error.failed_states)} {error}"
        found[method] = {
            "counted": counts and counts.prompt,
            "advice": advice_of,
            "refused": refused,
        }
        teacher.close()
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
