"""The commands about teachers: teachers (list, fetch), teacher (check, report), prompts."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from llm4teach.errors import ConfigError, TeacherError
from llm4teach.flows.cli.parser import Argument, Command, QuietCommand
from llm4teach.flows.runtime.settings import Settings

if TYPE_CHECKING:
    from llm4teach.envs.task import Mixture, Task
    from llm4teach.teacher_labeling.config import Price
    from llm4teach.teacher_labeling.elicitation.prompts import PromptTemplate
    from llm4teach.teacher_labeling.teacher import Advice

_LIKELIEST = 3  # plans shown per state
_SHOWN_CHARACTERS = 400  # of a reply


class Teachers(Command):
    """List the teachers, or download one's weights."""

    command = "teachers"
    examples = ("llm4teach teachers", "llm4teach teachers --fetch qwen2.5-coder-1.5b")

    fetch: Annotated[str | None, Argument(metavar="MODEL")] = Field(
        None, description="download a model's weights"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        from llm4teach.flows.cli.tables import print_table

        if self.fetch:
            from llm4teach.teacher_labeling.backends.llama_cpp.weights import fetch_weights

            print(fetch_weights(self.fetch.removeprefix("embedded/")))
            return
        from llm4teach.teacher_labeling.factory import list_teachers

        choices = list_teachers()
        ready = {True: "ready", False: "not here yet"}
        print_table(
            [
                {"teacher": choice.spec, "": ready[choice.ready], "what it is": choice.description}
                for choice in choices
            ]
        )
        for choice in choices:
            if choice.hint:
                print(f"\n{choice.spec}: {choice.hint}")


class TeacherCommand(QuietCommand):
    """Ask a teacher about three probe states (check), or compare all by stored advice (report)."""

    command = "teacher"
    examples = (
        "llm4teach teacher check",
        "llm4teach teacher check --teacher openai --teacher.base-url http://127.0.0.1:8000/v1",
        "llm4teach teacher check --teacher.method logprobs --replies",
        "llm4teach teacher report --task LavaDoorKey --no-fqe",
    )
    uses = ("task", "workspace", "seed", "teacher", "evaluate")

    action: Annotated[Literal["check", "report"], Argument(is_positional=True)] = Field(
        description="check: ask one teacher about three states; report: write a page that judges "
        "every teacher by its stored advice"
    )
    replies: bool = Field(False, description="check: also print the model's replies verbatim")
    fqe_steps: PositiveInt = Field(
        2000, description="report: gradient steps of fitted Q evaluation per teacher"
    )
    no_fqe: bool = Field(False, description="report: leave fitted Q evaluation out")

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        if self.action == "check":
            check_teacher(settings, self.replies)
        else:
            self._report(settings)

    def _report(self, settings: Settings) -> None:
        from llm4teach.datasets.workspace import Workspace
        from llm4teach.envs.registry import get_task

        workspace, task = Workspace(settings.workspace), get_task(settings.task)

        from llm4teach.analysis.teachers.diagnostics import diagnose
        from llm4teach.analysis.teachers.report import write_teacher_report

        def show(what: str) -> None:
            if not self.quiet:
                print(f"judging: {what}", file=sys.stderr)

        steps = 0 if self.no_fqe else self.fqe_steps
        diagnosis = diagnose(
            workspace,
            task,
            settings.evaluate,
            fqe_steps=steps,
            seed=settings.seed,
            softmax_temperature=settings.teacher.softmax_temperature,
            on_step=show,
        )
        words = ["llm4teach", "teacher", "report", "--task", task.name]
        words += ["--workspace", workspace.name, "--seed", str(settings.seed)]
        words += ["--evaluate.episodes", str(settings.evaluate.episodes)]
        words += ["--evaluate.seeds", settings.evaluate.seeds]
        words += ["--no-fqe"] if self.no_fqe else ["--fqe-steps", str(self.fqe_steps)]
        print(write_teacher_report(workspace, diagnosis, shlex.join(words)))


def check_teacher(settings: Settings, show_replies: bool = False) -> None:
    """Ask a teacher about a few states, and print its advice, tokens and cost; store nothing.

    Raises:
        TeacherError: the teacher cannot be opened or cannot answer, or no answer was usable.
    """
    from llm4teach.envs.registry import get_task
    from llm4teach.flows.cli.tables import print_table
    from llm4teach.flows.runtime.teacher_access import open_teacher
    from llm4teach.teacher_labeling.factory import questions_of
    from llm4teach.teacher_labeling.labeling.budget import price_of, with_cost
    from llm4teach.teacher_labeling.questions import distinct_questions

    task = get_task(settings.task)
    family, states = task.family, task.example_states()
    teacher = open_teacher(settings.teacher, family)
    try:
        print(f"teacher: {teacher.info.teacher_id}")
        if teacher.info.prompt_version:
            print(f"prompt:  version {teacher.info.prompt_version}, for {family}")
        if server_facts := getattr(teacher, "server_facts", None):
            server = server_facts()
            version = f"version {server.version}" if server.version else "of unknown version"
            context = f"{server.context_tokens:,} tokens" if server.context_tokens else "unknown"
            served = ", ".join(server.served[:5]) or "no list of models"
            print(f"server:  {version}, context {context}, serves {served}")
        price = price_of(settings.teacher, settings.label, teacher.info)
        questions = questions_of(task, settings.teacher, teacher.info)
        asked = distinct_questions(questions, states)
        answers = (with_cost(advice, price) for advice in teacher.advise(asked))
        by_key = {advice.state.key: advice for advice in answers}
    finally:
        teacher.close()
    print()
    rows = [by_key[question.key] for question in asked]
    plans_by_key = {key: advice.plans for key, advice in by_key.items()}
    advised = {state.text: questions.advice(state, plans_by_key) for state in states}
    if asked != list(states):
        print_table([{"state": text, "advice": _likely(p)} for text, p in advised.items()])
        print(f"\ncomposed of the answers to {len(asked)} questions:\n")
    print_table([_row(advice, price) for advice in rows])
    tokens_in = sum(advice.prompt_tokens for advice in rows)
    tokens_out = sum(advice.completion_tokens for advice in rows)
    dollars = f"{sum(advice.cost for advice in rows):.6f} US dollars"
    if price is None:
        dollars = f"cost unknown: label.prices has no {teacher.info.model}"
    cached = sum(advice.cached_prompt_tokens for advice in rows)
    of_them = f" ({cached:,} of them cached)" if cached else ""
    print(f"\n{tokens_in:,} tokens in{of_them}, {tokens_out:,} out, {dollars}")
    invalid, truncated = (
        sum(getattr(advice, f"{kind}_replies") for advice in rows)
        for kind in ("invalid", "truncated")
    )
    if invalid or truncated:
        all_replies = sum(len(advice.replies) for advice in rows)
        most = settings.teacher.max_tokens
        print(
            f"{invalid} of {all_replies} replies are invalid, {truncated} reached "
            f"--teacher.max-tokens {most}"
        )
    if dropped := rows[-1].dropped:
        print(f"the server refuses {', '.join(dropped)}: left out, or renamed")
    if show_replies:
        for advice in rows:
            print(f"\n{advice.state.text}")
            for reply in advice.replies:
                print(f"  {reply[:_SHOWN_CHARACTERS]!r}")
    if not any(advised.values()):
        raise TeacherError(
            "the teacher had no advice on any of these states; --replies shows its replies. "
            "A better model, another --teacher.method or --teacher.prompt may help"
        )


def _row(advice: Advice, price: Price | None) -> dict[str, Any]:
    return {
        "state": advice.state.text,
        "advice": _likely(advice.plans) or advice.status.value,
        "entropy": f"{advice.entropy:.2f}",
        "coverage": f"{advice.coverage:.0%}",
        "tokens in": advice.prompt_tokens,
        "out": advice.completion_tokens,
        "seconds": round(advice.latency_s, 2),
        "cost $": f"{advice.cost:.6f}" if price is not None else "unknown",
    }


def _likely(plans: Mixture) -> str:
    return "; ".join(f"{p:.0%} {plan}" for plan, p in plans[:_LIKELIEST])


class Prompts(Command):
    """List the prompts, or show one as a model receives it."""

    command = "prompts"
    examples = (
        "llm4teach prompts list",
        "llm4teach prompts show SimpleDoorKey.logprobs",
        "llm4teach prompts show my_package.taxi:task.sampling",
    )

    action: Annotated[Literal["list", "show"], Argument(is_positional=True)] = Field(
        description="what to do"
    )
    prompt: Annotated[str | None, Argument(metavar="NAME", is_positional=True)] = Field(
        None, description="show: <family>.<prompt>, <task>.<prompt>, or a file"
    )

    def run(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        if (self.action == "show") != (self.prompt is not None):
            raise ConfigError(
                "show, and nothing else, takes a prompt: `llm4teach prompts show "
                "SimpleDoorKey.logprobs`; `llm4teach prompts list` lists them"
            )
        if self.prompt is None:
            list_prompts()
        else:
            print(show_prompt(self.prompt), end="")


def list_prompts() -> None:
    """Print every template with its version and the first line of its comment."""
    from llm4teach.flows.cli.tables import print_table
    from llm4teach.teacher_labeling.elicitation.prompts import parse_template, template_files

    rows = []
    for name, file in template_files().items():
        text = file.read_text("utf-8")
        template = parse_template(text, name)
        family, _, use = name.partition(".")
        rows.append(
            {
                "family": family,
                "prompt": use,
                "version": template.version,
                "examples": len(template.examples),
                "what it is for": text.partition("\n[")[0].strip().splitlines()[0],
            }
        )
    print_table(rows)


def show_prompt(name: str) -> str:
    """Return a template, filled in with an example state: version and messages.

    Args:
        name: ``<family>.<prompt>`` or ``<task>.<prompt>``, or a file, whose name then begins with
            the family's.

    Raises:
        TeacherError: there is no such template and no such file.
    """
    from llm4teach.envs.registry import task_of_family
    from llm4teach.errors import TaskError
    from llm4teach.teacher_labeling.elicitation.prompts import (
        load_template,
        parse_template,
        template_files,
    )

    if Path(name).is_file() and name not in template_files():
        task = task_of_family(Path(name).name.partition(".")[0])
        return render(parse_template(Path(name).read_text("utf-8"), name), task, name)
    family, _, use = name.rpartition(".")
    try:
        task = task_of_family(family)
        return render(load_template(task.family, use), task, use)
    except (TaskError, TeacherError):
        close = difflib.get_close_matches(name, list(template_files()), n=3, cutoff=0.3)
        hint = f"did you mean {', '.join(close)}?" if close else "see `llm4teach prompts list`"
        raise TeacherError(f"there is no prompt and no file {name!r}; {hint}") from None


def render(template: PromptTemplate, task: Task, use: str = "") -> str:
    """Return a template's version and its messages for an example state of a task, or for the last
    question about it if ``use`` names the elicitation ``judgments``."""
    from llm4teach.teacher_labeling.elicitation.parsing import list_options
    from llm4teach.teacher_labeling.questions import JUDGMENTS, Judgments

    states = task.example_states()
    state = states[len(states) // 2]
    if JUDGMENTS in use:
        *_, state = [state, *Judgments(task).of(state)]
    messages = template.messages(state.text, options=list_options(state.options))
    body = "".join(f"[{m['role']}]\n{m['content']}\n" for m in messages)
    return f"prompt_version {template.version}\n{body}"
