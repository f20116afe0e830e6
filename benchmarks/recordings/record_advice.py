"""Write what an embedded LLM has answered in a workspace as a recording, which needs no weights.

    python benchmarks/recordings/record_advice.py --workspace workspace --family MiniGridRaw \\
        --teacher embedded/qwen2.5-coder-1.5b --orders 1 --command "llm4teach compare ..." \\
        teacher_labeling/recorded/NAME.json

The teacher `recorded/NAME` then gives the same answers, rounded to four places, and none to other
questions. `--command` is what asks them again; the file says so. With `--comparison` only what the
students and teachers of these comparisons were asked is recorded, and not all that is stored.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from llm4teach.analysis.comparisons.results import read_seed
from llm4teach.datasets.workspace import Workspace
from llm4teach.errors import LLM4TeachError
from llm4teach.flows.runtime.teacher_access import advice_of
from llm4teach.teacher_labeling.backends.recorded import write_recording
from llm4teach.teacher_labeling.config import TeacherConfig
from llm4teach.teacher_labeling.factory import teacher_info


def asked_in(comparisons: Sequence[Path], workspace: Workspace) -> set[str]:
    """Return the keys of the questions that the runs of some comparison.json have asked."""
    runs = {
        run_id
        for path in comparisons
        for comparison in json.loads(path.read_text(encoding="utf-8"))["comparisons"]
        for one in (*comparison["methods"], *comparison["teachers"])
        for run_id in one["runs"]
    }
    return {key for run_id in runs for key in read_seed(workspace, run_id).questions}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="the JSON file")
    parser.add_argument("--workspace", default="workspace")
    parser.add_argument("--family", default="MiniGridRaw", help="of the tasks")
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--orders", type=int, default=1, help="orders of the examples")
    parser.add_argument("--comparison", nargs="+", type=Path, default=[], help="comparison.json")
    parser.add_argument("--command", required=True, help="that asks the same again")
    arguments = parser.parse_args()
    config = TeacherConfig(teacher=arguments.teacher, orders=arguments.orders)
    try:
        info = teacher_info(config, arguments.family)
        workspace = Workspace(arguments.workspace)
        stores = {arguments.family: advice_of(info, workspace, arguments.family)}
        only = asked_in(arguments.comparison, workspace) if arguments.comparison else None
        answers = write_recording(arguments.output, info, stores, arguments.command, only)
    except LLM4TeachError as error:
        sys.exit(f"record_advice: {error}")
    print(f"{answers} answers in {arguments.output}, {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
