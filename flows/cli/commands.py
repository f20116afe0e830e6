"""The table of sub-commands: what each is for, the settings it uses, and its other arguments."""

from __future__ import annotations

from llm4teach.flows.cli.compact_command import add_compact_arguments
from llm4teach.flows.cli.data import add_sql_arguments
from llm4teach.flows.cli.experiments import add_experiment_arguments
from llm4teach.flows.cli.parser import Command, Parser, positive
from llm4teach.flows.cli.play import add_play_arguments
from llm4teach.flows.cli.teachers import add_teacher_arguments
from llm4teach.flows.cli.watch import add_watch_arguments

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
        (*_STAGE, "label", "live", "collect", "pretrain", "finetune", "evaluate", "patience"),
        is_flow=True,
    ),
    Command(
        "collect",
        "Play episodes and store every step.",
        (
            "llm4teach collect --collect.steps 4000",
            "llm4teach collect --collect.steps 1000000 --scale.runner processes --scale.workers 4",
        ),
        (*_STAGE, "collect", "scale", "patience"),
        is_flow=True,
    ),
    Command(
        "label",
        "Ask the teacher about every stored state that has no advice yet, each once.",
        (
            "llm4teach label",
            "llm4teach label --teacher recorded/vicuna-33b",
            "llm4teach label --teacher openai --dry-run",
            "llm4teach label --teacher openai --max-requests 1000 --max-cost 2.50",
        ),
        ("task", "workspace", "teacher", "label", "scale", "patience"),
        is_flow=True,
    ),
    Command(
        "pretrain",
        "Distil the stored advice into a student, without the environment.",
        ("llm4teach pretrain --pretrain.epochs 40",),
        (*_STAGE, "pretrain", "patience"),
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
        (*_STAGE, "label", "live", "finetune", "patience"),
        is_flow=True,
    ),
    Command(
        "evaluate",
        "Play held-out episodes with a student, its teacher and a random policy.",
        ("llm4teach evaluate", "llm4teach evaluate --evaluate.episodes 1000"),
        (*_STAGE, "evaluate", "patience"),
        is_flow=True,
    ),
    Command(
        "retrain",
        "Train a challenger on everything stored so far; it is promoted only if it is better.",
        (
            "llm4teach retrain",
            "llm4teach retrain --retrain.start champion --retrain.confidence 0.99",
            "llm4teach retrain --resume retrain-20261120-101500-a1b2",
        ),
        (
            *_STAGE,
            *("label", "live", "collect", "pretrain", "finetune", "evaluate", "retrain"),
            "patience",
        ),
        is_flow=True,
    ),
    Command(
        "models",
        "List champions, show how one came, promote a run's student by hand, or go back.",
        (
            "llm4teach models list",
            "llm4teach models show --task LavaDoorKey",
            'llm4teach models promote teach-20261120-101500-a1b2 --reason "first release"',
            "llm4teach models rollback --task LavaDoorKey",
        ),
        ("task", "workspace"),
    ),
    Command(
        "export",
        "Write a run's student for other programs, with a model card beside it.",
        (
            "llm4teach export",
            "llm4teach export teach-20261120-101500-a1b2 --format onnx --output student.onnx",
        ),
        ("task", "workspace", "evaluate"),
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
        "experiment",
        "Answer one of the paper's questions: trained by seeds and arms, one figure, one table.",
        (
            "llm4teach experiment --list",
            "llm4teach experiment ablation",
            "llm4teach experiment schedules --task LavaDoorKey --seeds 5 --budget 100000 --jobs 2",
            "llm4teach experiment teacher-noise --task SimpleDoorKey ColoredDoorKey",
        ),
        (
            "workspace",
            "seed",
            "teacher",
            "collect",
            "pretrain",
            "finetune",
            "evaluate",
            "validation",
        ),
    ),
    Command(
        "watch",
        "Show a training run's curves in the terminal while it goes on, until it is complete.",
        ("llm4teach watch", "llm4teach watch teach-20261120-101500-a1b2 --once"),
        ("workspace",),
    ),
    Command(
        "play",
        "Watch episodes in the terminal, or play them, with the teacher's advice beside.",
        (
            "llm4teach play --agent student --episodes 3",
            "llm4teach play --agent human --teacher recorded/vicuna-33b",
            "llm4teach play --task LavaDoorKey --agent teacher --seed 7 --delay 0.1",
        ),
        _STAGE,
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
        "Ask a teacher three known states (check), or judge all by their stored advice (report).",
        (
            "llm4teach teacher check",
            "llm4teach teacher check --teacher openai --teacher.base-url http://127.0.0.1:8000/v1",
            "llm4teach teacher check --teacher.method logprobs --replies",
            "llm4teach teacher report --task LavaDoorKey --no-fqe",
        ),
        ("task", "workspace", "seed", "teacher", "evaluate"),
    ),
    Command("tasks", "List the tasks.", ("llm4teach tasks",)),
    Command(
        "teachers",
        "List the teachers, or download one's weights.",
        ("llm4teach teachers", "llm4teach teachers --fetch qwen2.5-coder-1.5b"),
    ),
    Command(
        "prompts",
        "List the prompts, show one filled in, compare two, or test them against golden texts.",
        (
            "llm4teach prompts list",
            "llm4teach prompts show SimpleDoorKey.logprobs",
            "llm4teach prompts diff SimpleDoorKey.sampling my.SimpleDoorKey.sampling.txt",
            "llm4teach prompts test",
        ),
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
    parsers["label"].add_argument(
        "--dry-run", action="store_true", help="say what would be asked and what it would take"
    )
    parsers["teach"].add_argument(
        "--resume", metavar="RUN", help="unfinished teach run to go on with, from where it stopped"
    )
    parsers["collect"].add_argument(
        "--from-run", metavar="RUN", help="run whose student leads episodes beside the teacher"
    )
    parsers["evaluate"].add_argument(
        "--from-run", metavar="RUN", help="run whose student to evaluate (default: the newest)"
    )
    parsers["retrain"].add_argument(
        "--resume",
        metavar="RUN",
        help="unfinished retrain run to go on with, from where it stopped",
    )
    export = parsers["export"]
    export.add_argument(
        "run", nargs="?", metavar="RUN", help="whose student (default: the task's newest)"
    )
    formats = ("onnx", "torchscript")
    export.add_argument("--format", choices=formats, default="onnx", help="(default: onnx)")
    export.add_argument("-o", "--output", metavar="FILE", help="(default: in the run's folder)")
    models = parsers["models"]
    models.add_argument("action", choices=("list", "show", "promote", "rollback"))
    models.add_argument("run", nargs="?", metavar="RUN", help="run whose student to promote")
    models.add_argument("--reason", default="by hand", help="kept with the decision")
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
    add_experiment_arguments(parsers["experiment"])
    add_watch_arguments(parsers["watch"])
    add_play_arguments(parsers["play"])
    parsers["report"].add_argument(
        "run", nargs="?", metavar="RUN", help="run to report (default: the newest)"
    )
    add_sql_arguments(parsers["sql"])
    add_compact_arguments(parsers["compact"])
    add_teacher_arguments(parsers["teacher"])
    prompts = parsers["prompts"]
    prompts.add_argument("action", choices=("list", "show", "diff", "test"), help="what to do")
    prompts.add_argument(
        "names", nargs="*", metavar="NAME", help="show: one, diff: two; <family>.<prompt> or a file"
    )
    prompts.add_argument(
        "--golden",
        metavar="FOLDER",
        default="tests/teacher_labeling/golden",
        help="test: where the golden texts are (default: %(default)s)",
    )
    prompts.add_argument("--update", action="store_true", help="test: write the golden texts anew")
    parsers["teachers"].add_argument("--fetch", metavar="MODEL", help="download a model's weights")
