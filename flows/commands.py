"""The table of sub-commands: what each is for, the settings it uses, and its other arguments."""

from __future__ import annotations

from llm4teach.flows.arguments import Command, Parser, positive
from llm4teach.flows.compact_command import add_compact_arguments
from llm4teach.flows.sql_command import add_sql_arguments
from llm4teach.flows.teacher_command import add_teacher_arguments

_STAGE = ("task", "workspace", "seed", "teacher")
COMMANDS = (
    Command(
        "teach",
        "The whole pipeline: collect, label, pretrain, finetune, evaluate, report.",
        (
            "llm4teach teach",
            "llm4teach teach --teacher recorded/vicuna-33b --workspace runs/vicuna",
            "llm4teach teach --finetune.steps 20000 --finetune.kl-coef 0 --quiet",
            "llm4teach teach --resume teach-20261120-101500-a1b2",
        ),
        (*_STAGE, "collect", "pretrain", "finetune", "evaluate"),
        is_flow=True,
    ),
    Command(
        "collect",
        "Play episodes and store every step.",
        ("llm4teach collect --collect.steps 4000",),
        (*_STAGE, "collect"),
        is_flow=True,
    ),
    Command(
        "label",
        "Ask the teacher about every stored state that has no advice yet, each once.",
        ("llm4teach label", "llm4teach label --teacher recorded/vicuna-33b"),
        ("task", "workspace", "teacher"),
        is_flow=True,
    ),
    Command(
        "pretrain",
        "Distil the stored advice into a student, without the environment.",
        ("llm4teach pretrain --pretrain.epochs 40",),
        (*_STAGE, "pretrain"),
        is_flow=True,
    ),
    Command(
        "finetune",
        "Train a student further with PPO and a decaying KL term to the teacher.",
        (
            "llm4teach finetune --finetune.steps 20000",
            "llm4teach finetune --from-run pretrain-20261120-101500-a1b2",
            "llm4teach finetune --resume finetune-20261120-103000-c3d4",
        ),
        (*_STAGE, "finetune"),
        is_flow=True,
    ),
    Command(
        "evaluate",
        "Play held-out episodes with a student, its teacher and a random policy.",
        ("llm4teach evaluate", "llm4teach evaluate --evaluate.episodes 1000"),
        (*_STAGE, "evaluate"),
        is_flow=True,
    ),
    Command(
        "compare",
        "Plain PPO, pretraining only, PPO + KL and the whole method: one table, one figure.",
        (
            "llm4teach compare --seeds 5",
            "llm4teach compare --teacher recorded/vicuna-33b --finetune.steps 8192 --jobs 2",
            "llm4teach compare --seeds 3 --format json > comparison.json",
        ),
        (*_STAGE, "collect", "pretrain", "finetune", "evaluate", "validation"),
    ),
    Command(
        "report",
        "Write a run's report, an HTML file, and print where it lies.",
        ("llm4teach report", "llm4teach report teach-20261120-101500-a1b2"),
        ("workspace",),
    ),
    Command(
        "sql",
        "Answer a question in SQL over everything in the workspace; nothing is ever changed.",
        (
            'llm4teach sql "SHOW TABLES"',
            'llm4teach sql "SELECT state_text, options, entropy FROM advice ORDER BY entropy"',
            "llm4teach sql -f question.sql --format csv --output answer.csv",
            "llm4teach sql --list",
            "llm4teach sql --query disagreement --param a=embedded --param b=recorded",
            "llm4teach sql --shell",
        ),
        ("workspace",),
    ),
    Command(
        "compact",
        "Rewrite many small Parquet parts into few, while others may read and write.",
        ("llm4teach compact", "llm4teach compact --grace 0"),
        ("workspace",),
    ),
    Command(
        "teacher",
        "Judge the teachers by their stored advice, before any training; nothing is asked.",
        ("llm4teach teacher report", "llm4teach teacher report --task LavaDoorKey --no-fqe"),
        ("task", "workspace", "seed", "evaluate"),
    ),
    Command("tasks", "List the tasks.", ("llm4teach tasks",)),
    Command(
        "teachers",
        "List the teachers, or download one's weights.",
        ("llm4teach teachers", "llm4teach teachers --fetch qwen2.5-coder-1.5b"),
    ),
)


def add_more_arguments(parsers: dict[str, Parser]) -> None:
    """Add the arguments that are no settings."""
    start = parsers["finetune"].add_mutually_exclusive_group()
    start.add_argument(
        "--from-run",
        metavar="RUN",
        help="run whose student to start from (default: the newest)",
    )
    start.add_argument("--resume", metavar="RUN", help="unfinished finetune run to go on with")
    parsers["teach"].add_argument(
        "--resume", metavar="RUN", help="unfinished teach run to go on with, from where it stopped"
    )
    parsers["collect"].add_argument(
        "--from-run", metavar="RUN", help="run whose student leads episodes beside the teacher"
    )
    parsers["evaluate"].add_argument(
        "--from-run", metavar="RUN", help="run whose student to evaluate (default: the newest)"
    )
    compare = parsers["compare"]
    compare.add_argument(
        "--seeds",
        type=positive,
        default=5,
        metavar="N",
        help="how many, from --seed on (default: 5)",
    )
    compare.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="processes to train in (default: 1)"
    )
    kinds = ("markdown", "json")
    compare.add_argument(
        "--methods",
        nargs="+",
        choices=("ppo", "pretrain", "ppo-kl", "teach"),
        default=[],
        help="only these: plain PPO, pretraining only, PPO + KL alone, the whole method",
    )
    compare.add_argument("--format", choices=kinds, default="markdown", help="(default: markdown)")
    compare.add_argument("--quiet", action="store_true", help="print nothing but the result")
    parsers["report"].add_argument(
        "run", nargs="?", metavar="RUN", help="run to report (default: the newest)"
    )
    add_sql_arguments(parsers["sql"])
    add_compact_arguments(parsers["compact"])
    add_teacher_arguments(parsers["teacher"])
    parsers["teachers"].add_argument("--fetch", metavar="MODEL", help="download a model's weights")
