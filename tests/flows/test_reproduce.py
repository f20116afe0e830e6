"""The report's "how to reproduce" is a command line that means the run's own settings."""

from __future__ import annotations

import shlex

from llm4teach.analysis.reports.report_content import command
from llm4teach.flows.cli.main import COMMANDS
from llm4teach.flows.cli.parser import parse
from llm4teach.flows.runtime.settings import load_settings

# Sections that `teach` has not.
LEFT_OUT = {"workspace", "validation", "retrain", "service", "scale"}


def test_the_printed_command_gives_the_same_settings() -> None:
    flags = {
        "teacher": {"teacher": "recorded/vicuna-33b", "n_samples": 3},
        "finetune": {"kl_coef": 0.25, "n_envs": 8},
        "seed": 4,
    }
    settings = load_settings(flags)
    config = settings.model_dump(mode="json", exclude=LEFT_OUT)
    program, *words = shlex.split(command("teach", "workspace", config).replace("\\\n", " "))
    assert program == "llm4teach"
    assert load_settings(parse(words, COMMANDS)[1]) == settings
