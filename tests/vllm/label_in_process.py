"""Labels three states with the backend ``vllm``; runs in vLLM's environment (test_real_vllm.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from llm4teach.teacher_labeling.backends import make_teacher
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.known_states import known_states
from llm4teach.teacher_labeling.token_counts import tokens_of

FAMILY = "SimpleDoorKey"


def main(settings: dict[str, Any], output: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    for method in ("logprobs", "sampling", "verbalized"):
        teacher = make_teacher(TeacherConfig(method=method, n_samples=3, **settings), FAMILY)
        counts = tokens_of(teacher, known_states(FAMILY))
        advice_of = {
            advice.state.key: {
                "status": advice.status.value,
                "plans": {str(plan): p for plan, p in advice.plans},
                "coverage": advice.coverage,
                "n_replies": len(advice.replies),
                "prompt_tokens": advice.prompt_tokens,
                "completion_tokens": advice.completion_tokens,
            }
            for advice in teacher.advise(known_states(FAMILY))
        }
        found[method] = {"counted": counts and counts.prompt, "advice": advice_of}
        teacher.close()
    output.write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
