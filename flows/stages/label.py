"""The stage that labels, within a budget, and its dry run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from llm4teach.datasets.trajectories import Trajectories, distinct_states, read_steps
from llm4teach.datasets.workspace import Workspace
from llm4teach.envs.registry import get_training_task
from llm4teach.envs.task import State
from llm4teach.flows.runtime import artifacts
from llm4teach.flows.runtime.progress import Stage, stage
from llm4teach.flows.runtime.settings import Settings
from llm4teach.flows.runtime.teacher_access import advice_of, open_teacher
from llm4teach.flows.stages.checkpoints import PRETRAINED, stored_student
from llm4teach.flows.stages.context import Context
from llm4teach.student.collection.states import states_of
from llm4teach.student.policies import policy_entropy
from llm4teach.teacher_labeling.factory import questions_of
from llm4teach.teacher_labeling.labeling.asking_order import ValueAndShare, in_order, share_left
from llm4teach.teacher_labeling.labeling.budget import price_of
from llm4teach.teacher_labeling.labeling.estimate import Estimate, estimate
from llm4teach.teacher_labeling.labeling.run import LabelReport, label_states
from llm4teach.teacher_labeling.labeling.valid_share import (
    RETRY,
    ValidShare,
    check_valid_share,
    quoted,
    valid_share,
)
from llm4teach.teacher_labeling.questions import distinct_questions

_SHOW_EVERY_S = 0.1


def label(ctx: Context, trajectories: Trajectories, *, is_shard: bool = False) -> None:
    """Ask the teacher every question about the trajectories' states that has no answer yet.

    A state without admissible plans leaves nothing to ask. A shard is too small a sample of the
    teacher to judge it by.

    Raises:
        TeacherError: the teacher cannot answer, or too small a share of its answers is valid
            advice; what it has answered is stored.
    """
    states = [s for s in states_of(ctx.task, trajectories) if s.options]
    about = [ctx.questions.of(state) for state in states]
    questions = list({q.key: q for asked in about for q in asked}.values())
    with stage("label", len(questions), "questions") as shown:
        report = LabelReport()
        try:
            chosen, why_no_more = _worth_asking(ctx, states, questions, trajectories)
            label_states(
                ctx.teacher,
                ctx.store,
                chosen,
                _Display(shown),
                limits=ctx.limits,
                budget=ctx.budget,
                report=report,
            )
            report.stopped_by = report.stopped_by or why_no_more
        except BaseException:  # the budget is the run's, however often it is begun again
            ctx.run.count(**spent(report))
            raise
        store = ctx.store
        found = valid_share(store, [question.key for question in questions])
        left = sum(any(q.key not in store for q in asked) for asked in about)
        shown.summary = summary(report, found, ctx.settings.teacher.max_tokens, len(states), left)
        if left and not report.stopped_by and ctx.limits.share < 1:
            shown.summary += f"; {left} states are left out (label.share {ctx.limits.share:.0%})"
    ctx.run.note(
        distinct_states=len(states),
        distinct_questions=len(questions),
        states_left=left,
        stopped_by=report.stopped_by,
        valid_states=found.valid,
        invalid_states=found.invalid,
        refused_states=found.refused,
        dropped_fields=list(report.dropped),
    )
    ctx.run.count(
        known_states=report.known,
        replies=report.replies,
        invalid_replies=report.invalid_replies,
        truncated_replies=report.truncated_replies,
        **spent(report),
    )
    artifacts.show_funnel(ctx.run, ctx.task.name, collect_steps=len(trajectories))
    if not is_shard:
        check_advice(ctx, states)


def _worth_asking(
    ctx: Context,
    states: Sequence[State],
    questions: Sequence[State],
    trajectories: Trajectories,
) -> tuple[Sequence[State], str]:
    """Return the questions that share and order leave, and the budget that ends them, if any."""
    limits, store = ctx.limits, ctx.store
    if limits.share == 1 and (limits.order == "first" or limits.max_requests is None):
        return questions, ""
    store.refresh()
    known = [question for question in questions if question.key in store]
    share = share_left(limits.share, len(questions), len(known))
    budget = ctx.budget.requests_left
    most, why = share, ""
    if budget is not None and budget < share:
        most, why = budget, f"the {limits.max_requests:,} questions of max_requests are asked"
    if len(questions) - len(known) <= most:
        return questions, ""
    steps = Counter(trajectories.column("state_key").astype(str).tolist())

    def plans() -> dict[str, list[ValueAndShare]]:
        known = ctx.reweighted(trajectories)
        return {s.key: [(p.value, p.reweighted) for p in plans] for s, plans in known.items()}

    entropies = partial(_entropies, ctx, trajectories)
    ranked = in_order(states, limits.order, steps, plans, entropies, ctx.seed)
    new = [q for q in distinct_questions(ctx.questions, ranked) if q.key not in store]
    return [*known, *new[:most]], why


def _entropies(ctx: Context, trajectories: Trajectories) -> dict[str, float]:
    """Entropy of the run's student in an observation of each state; none before it has one."""
    if not (ctx.run.folder / PRETRAINED).exists():
        return {}
    student = stored_student(ctx.workspace, ctx.task, ctx.run.run_id, PRETRAINED)
    keys, observations = distinct_states(trajectories)
    entropies = policy_entropy(student)(ctx.task.student_observations(observations))
    return dict(zip(keys, entropies.tolist(), strict=True))


def check_advice(ctx: Context, states: Sequence[State]) -> None:
    """Stop if too small a share of the stored answers about these states is valid.

    Raises:
        TeacherError: it is below ``teacher.min_valid_share``.
    """
    teacher = ctx.settings.teacher
    keys = [question.key for question in distinct_questions(ctx.questions, states)]
    check_valid_share(ctx.store, keys, teacher.min_valid_share, teacher.max_tokens)


def spent(report: LabelReport) -> dict[str, float]:
    """What a labeling adds to the run's sums."""
    return {
        "questions": report.asked,
        "prompt_tokens": report.prompt_tokens,
        "cached_prompt_tokens": report.cached_prompt_tokens,
        "completion_tokens": report.completion_tokens,
        "cost": report.cost,
        "teacher_s": report.seconds,
    }


def summary(
    report: LabelReport, found: ValidShare, max_tokens: int, states: int, states_left: int
) -> str:
    """What a labeling did, and what is wrong with its answers, in a line for people.

    Args:
        report: of the labeling.
        found: what its answers are worth.
        max_tokens: of a reply.
        states: distinct ones that the questions are about.
        states_left: of these, those without an answer to each of their questions.
    """
    line = f"{states} distinct states, "
    if states != report.distinct_questions:
        line = f"{report.distinct_questions} questions for {states} states, "
    line += f"{report.known} known: "
    if report.asked:
        line += f"{report.asked} questions, {_tokens(report):,} tokens"
        cached = report.cached_prompt_tokens
        line += f" ({cached:,} of them cached)" if cached else ""
        line += f", ${report.cost:.4g}" if report.cost else ""
    else:
        line += "nothing to ask" if not report.left else "nothing asked"
    if report.answered_elsewhere:
        line += f", {report.answered_elsewhere} asked by another run"
    if report.stopped_by:
        line += f"; stopped: {report.stopped_by}. {states_left} states are left without advice: "
        line += "to go on, repeat the command with another budget"
    if report.dropped:
        line += f"; the server refuses {', '.join(report.dropped)}: left out, or renamed"
    if report.invalid_replies:
        share = report.invalid_replies / max(1, report.replies)
        line += f"; {report.invalid_replies:,} of {report.replies:,} replies ({share:.0%}) are "
        line += f"invalid, the first: {quoted(report.invalid_reply)}"
    if report.truncated_replies:
        line += f"; {report.truncated_replies:,} replies reached max_tokens ({max_tokens}): raise "
        line += "--teacher.max-tokens if their answers are missing"
    if found.refused:
        line += f"; {found.refused} questions were refused by a content filter"
    if found.invalid:
        line += f"; {found.invalid} of {found.judged} questions without a valid answer: `{RETRY}` "
        line += "asks again"
    return line


def _tokens(report: LabelReport) -> int:
    return report.prompt_tokens + report.completion_tokens


class _Display:
    """Moves the bar: rate, hit rate, tokens, cost."""

    def __init__(self, shown: Stage) -> None:
        self._shown, self._began, self._last = shown, time.monotonic(), 0.0

    def __call__(self, report: LabelReport) -> None:
        now = time.monotonic()
        if now - self._last < _SHOW_EVERY_S:
            return
        self._last = now
        unknown = report.distinct_questions - report.known  # what takes time
        self._shown.at(unknown - report.left, unknown)
        details = [
            f"{report.asked / max(now - self._began, 1e-9):.1f}/s",
            f"{report.known / report.distinct_questions:.0%} known before",
            f"{_tokens(report):,} tokens",
        ]
        if report.cost:
            details.append(f"${report.cost:.4g}")
        if report.waiting_for:
            details.append(f"waiting for {report.waiting_for} that another run is asking about")
        self._shown.detail(", ".join(details))


def dry_run(settings: Settings) -> dict[str, str]:
    """What `label` would ask and take, as words by name; asks and writes nothing.

    Raises:
        DatasetError: there are no trajectories, or the store is damaged.
        TeacherError: the teacher cannot be made.
    """
    task, workspace = get_training_task(settings.task), Workspace(settings.workspace)
    steps = read_steps(workspace.trajectories(task.name), task.observation_shape)
    with closing(open_teacher(settings.teacher, task.family)) as teacher:
        info = teacher.info
        store = advice_of(info, workspace, task.family)
        price = price_of(settings.teacher, settings.label, info)
        retry = settings.label.retry_invalid
        states = [state for state in states_of(task, steps) if state.options]
        questions = distinct_questions(questions_of(task, settings.teacher, info), states)
        share = settings.label.share
        forecast = estimate(teacher, store, questions, price, retry_invalid=retry, share=share)
    bound = "at most " if forecast.completion_is_bound else ""
    return {
        "distinct states": f"{len(states):,}",
        "questions about them": f"{forecast.questions:,}",
        "without an answer": f"{forecast.missing:,}",
        **({"to be asked (label.share)": f"{forecast.asked:,}"} if share < 1 else {}),
        "invalid": f"{forecast.invalid:,}" + (" (asked again)" if retry else ""),
        "prompt tokens": _figure(
            forecast.prompt_tokens, "about " if forecast.prompt_is_guess else ""
        ),
        "completion tokens": _figure(forecast.completion_tokens, bound),
        "cost": _dollars(forecast, bound),
        "estimated from": forecast.source,
    }


def _figure(count: int | None, qualified: str = "") -> str:
    return "unknown" if count is None else f"{qualified}{count:,}"


def _dollars(forecast: Estimate, bound: str) -> str:
    if not forecast.cost:
        return "unknown" if forecast.cost is None else "$0"
    return f"{bound}${forecast.cost:.4g}"
