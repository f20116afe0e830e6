"""The commands of the pipeline: teach, collect, label, pretrain, finetune, evaluate, retrain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from llm4teach.flows.cli.parser import QuietCommand, RunId
from llm4teach.flows.runtime.settings import Settings

_STAGE = ("task", "workspace", "seed", "teacher")


class FlowCommand(QuietCommand):
    """A command that runs one flow."""

    flow: ClassVar[str]  # module llm4teach.flows.<flow>, and the flow's name in it
    needs_server: ClassVar[bool] = False  # a single stage can run without Prefect's server

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.flows.cli.tables import print_result
        from llm4teach.flows.launch import launch
        from llm4teach.flows.stages.run_settings import check_resumed, resumed_settings

        parameters: dict[str, Any] = {}
        if from_run := getattr(self, "from_run", None):
            Workspace(settings.workspace).existing_run(from_run)
            parameters["from_run"] = from_run
        if resume := getattr(self, "resume", None):
            parameters["resume"] = resume
            settings = resumed_settings(settings, self.command, resume)
            check_resumed(flags, settings, resume)
        print_result(
            launch(
                self.flow,
                settings,
                parameters,
                needs_server=self.needs_server,
                quiet=self.quiet,
            )
        )


class Teach(FlowCommand):
    """Run the whole pipeline: collect, label, pretrain, finetune, evaluate, report."""

    command = "teach"
    examples = (
        "llm4teach teach",
        "llm4teach teach --teacher recorded/vicuna-33b --workspace runs/vicuna",
        "llm4teach teach --finetune.steps 20000 --finetune.kl-coef 0 --quiet",
        "llm4teach teach --resume teach-20261120-101500-a1b2",
    )
    uses = (
        *_STAGE,
        "label",
        "live",
        "student",
        "collect",
        "pretrain",
        "finetune",
        "evaluate",
        "patience",
    )
    flow = "teach"
    needs_server = True

    resume: RunId = Field(None, description="unfinished teach run to resume, with its settings")


class Collect(FlowCommand):
    """Play episodes and store every step."""

    command = "collect"
    examples = (
        "llm4teach collect --collect.steps 4000",
        "llm4teach collect --collect.steps 1000000 --scale.runner processes --scale.workers 4",
    )
    uses = (*_STAGE, "collect", "scale", "patience")
    flow = "collect_trajectories"

    from_run: RunId = Field(
        None, description="run whose student plays a share of the episodes, beside the teacher"
    )


class Label(FlowCommand):
    """Ask the teacher once about every stored state that has no advice yet."""

    command = "label"
    examples = (
        "llm4teach label",
        "llm4teach label --teacher recorded/vicuna-33b",
        "llm4teach label --teacher openai --dry-run",
        "llm4teach label --teacher openai --max-requests 1000 --max-cost 2.50",
        "llm4teach label --teacher openai --retry-invalid",
    )
    uses = ("task", "workspace", "teacher", "label", "scale", "patience")
    flow = "label_states"

    dry_run: bool = Field(
        False, description="print how many states would be asked about, and at what cost"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        if not self.dry_run:
            super().run(settings, flags)
            return
        from llm4teach.flows.stages.label import dry_run

        for name, words in dry_run(settings).items():
            print(f"{name:<18} {words}")


class Pretrain(FlowCommand):
    """Distill the stored advice into a student, without the environment."""

    command = "pretrain"
    examples = ("llm4teach pretrain --pretrain.epochs 40",)
    uses = (*_STAGE, "student", "pretrain", "patience")
    flow = "pretrain_student"


class Finetune(FlowCommand):
    """Train a student further with PPO and a decaying KL term to the teacher."""

    command = "finetune"
    examples = (
        "llm4teach finetune --finetune.steps 20000",
        "llm4teach finetune --from-run pretrain-20261120-101500-a1b2",
        "llm4teach finetune --resume finetune-20261120-103000-c3d4",
    )
    uses = (*_STAGE, "label", "live", "finetune", "patience")
    flow = "finetune_student"

    from_run: RunId = Field(None, description="run whose student to train (default: the newest)")
    resume: RunId = Field(None, description="unfinished finetune run to resume, with its settings")

    @model_validator(mode="after")
    def _one_start(self) -> Finetune:
        if self.from_run and self.resume:
            raise ValueError("--resume is not allowed with --from-run: a run keeps its own student")
        return self


class Evaluate(FlowCommand):
    """Play held-out episodes with a student, its teacher and a random policy."""

    command = "evaluate"
    examples = ("llm4teach evaluate", "llm4teach evaluate --evaluate.episodes 1000")
    uses = (*_STAGE, "evaluate", "patience")
    flow = "evaluate_student"

    from_run: RunId = Field(None, description="run whose student to evaluate (default: the newest)")


class Retrain(FlowCommand):
    """Train a challenger on everything stored so far; promote it only if it is better."""

    command = "retrain"
    examples = (
        "llm4teach retrain",
        "llm4teach retrain --retrain.start champion --retrain.confidence 0.99",
        "llm4teach retrain --resume retrain-20261120-101500-a1b2",
    )
    uses = (*Teach.uses[:-1], "retrain", "patience")
    flow = "retrain"
    needs_server = True

    resume: RunId = Field(None, description="unfinished retrain run to resume, with its settings")
