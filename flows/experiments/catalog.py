"""The experiments: the paper's ablation and its open questions, each a table of variants.

Budgets are small enough for two cores and less than an hour each; `--budget`, `--seeds` and every
setting can be raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from llm4teach.errors import ConfigError
from llm4teach.flows.experiments.baselines import AS_PUBLISHED, VARIANTS
from llm4teach.flows.experiments.spec import Experiment, Variant
from llm4teach.flows.experiments.trial import PPO, PPO_KL, PRETRAIN, TEACH
from llm4teach.flows.runtime.settings import merge

_Section = dict[str, Any]  # of the settings
_PLAYED: _Section = {
    "evaluate": {"episodes": 200},
    "validation": {"points": 12, "episodes": 200},
}
_OFFLINE: _Section = {"collect": {"steps": 4_000, "rounds": 2}, "pretrain": {"epochs": 10}}
_ROLLOUTS: _Section = {
    "n_envs": 16,
    "rollout_length": 32,
    "minibatches": 4,
    "learning_rate": 1e-3,
}
_DECAY: _Section = {
    "kl_schedule": "plateau",
    "kl_coef": 1.0,
    "kl_plateau": 0.1,
    "kl_decay": 0.3,
}


def _base(steps: int, teacher: str = "recorded/vicuna-33b") -> dict[str, Any]:
    """Settings spelled out, so that a new default does not make stored results another thing's."""
    finetune = {"steps": steps, **_ROLLOUTS, **_DECAY, "kl_off": 0.4}
    return {"teacher": {"teacher": teacher}, **_PLAYED, **_OFFLINE, "finetune": finetune}


_SMALL = _base(8_192)  # SimpleDoorKey's figures in the README took as many env steps


def _schedule(label: str, name: str, **more: float) -> Variant:
    schedule = {"kl_schedule": name, "kl_off": 1.0, **more}
    return Variant(label, PPO_KL, {"finetune": schedule})


def _reweighted_or_not(variants: Iterable[Variant]) -> Iterator[Variant]:
    """Each variant with pretraining on reweighted advice, and on the advice as it is."""
    for variant in variants:
        yield replace(variant, method=TEACH)
        changes = merge(variant.changes, AS_PUBLISHED)
        yield replace(
            variant, label=f"{variant.label}, no reweighting", method=TEACH, changes=changes
        )


def _plateau(label: str, decay: float, off: float, level: float) -> Variant:
    return _schedule(label, "plateau", kl_decay=decay, kl_off=off, kl_plateau=level)


def _faulty(label: str, kind: str, share: float) -> Variant:
    fault = {"fault": kind, "fault_share": share}
    return Variant(label, TEACH, {"teacher": fault}, seeded=("teacher.fault_seed",))


def _asked(label: str, method: str, **more: Any) -> Variant:
    return Variant(label, TEACH, {"teacher": {"method": method, **more}})


def _taught_by(label: str, **teacher: Any) -> Variant:
    return Variant(label, TEACH, {"teacher": teacher})


# Half of the steps under the last round's student; a tenth of all questions gets an answer.
_A_TENTH_ANSWERED: _Section = {
    "collect": {"steps": 4_000, "rounds": 2, "ask": False},
    "label": {"share": 0.1, "order": "visits"},
    "pretrain": {"epochs": 20},
    "finetune": {"steps": 0},
    "validation": {"points": 4, "episodes": 200},
    "evaluate": {"episodes": 500},
}
# Ten replies of SmolLM2 at temperature 1 hold no plan in any state (docs/LOG.md), hence 0.3.
_ELICITATIONS: dict[str, _Section] = {
    "sampling": {"method": "sampling", "temperature": 0.3},
    "verbalized": {"method": "verbalized"},
    "logprobs": {"method": "logprobs"},
}
_RL_ONLY = Variant("RL only", PPO)
_NOISE = [
    _faulty(f"{share:.0%} {name}", kind, share)
    for name, kind in (("random", "random"), ("systematic", "wrong"))
    for share in (0.1, 0.2, 0.4, 1.0)
]

EXPERIMENTS = (
    Experiment(
        "controls",
        "What does the LLM contribute, beside the same pipeline without it and other baselines?",
        tuple(VARIANTS.values()),
        baseline=VARIANTS["ppo"].label,
        seeds=5,
        settings=_SMALL,
    ),
    Experiment(
        "ablation",
        "What does each part of the method bring: the teacher, its decay, pretraining?",
        (
            _RL_ONLY,
            _schedule("constant teacher", "constant"),
            Variant("decaying teacher", PPO_KL),
            Variant("pretraining only", PRETRAIN),
            Variant("all", TEACH),
        ),
        baseline="RL only",
        seeds=5,
        settings=_SMALL,
    ),
    Experiment(
        "schedules",
        "How should the teacher's weight fall, how fast, and must it reach 0? Without pretraining, "
        "and with it, on reweighted advice or not",
        (
            _RL_ONLY,
            _schedule("constant", "constant"),
            _schedule("linear", "linear"),
            _plateau("plateau 0.1, off at 40%", 0.3, 0.4, 0.1),
            _plateau("the same, off at 80%", 0.6, 0.8, 0.1),
            _plateau("the same, never off", 0.3, 1.0, 0.1),
            _plateau("plateau 0.5, off at 40%", 0.3, 0.4, 0.5),
            _schedule("stepwise", "stepwise"),
            _schedule("cosine", "cosine"),
            _schedule("return ratio", "return-ratio"),
            *_reweighted_or_not(
                (
                    _schedule("pretrained, constant", "constant"),
                    _schedule("pretrained, linear", "linear"),
                    _plateau("pretrained, plateau 0.1, off at 40%", 0.3, 0.4, 0.1),
                )
            ),
        ),
        baseline="constant",
        tasks=("LavaDoorKey",),  # its teacher knows of no lava: 72%
        settings=_base(24_576),
    ),
    Experiment(
        "elicitation",
        "Does it matter how a distribution is got out of the LLM, or would its first choice do?",
        (
            *(_asked(name, **how) for name, how in _ELICITATIONS.items()),
            _asked("logprobs, first choice only", "logprobs", hard=True),
            _asked("scores of whole plans", "plan-logprobs"),
        ),
        baseline="logprobs, first choice only",
        tasks=("SimpleDoorKey", "ColoredDoorKey"),
        settings=_base(16_384, "embedded"),
        figure="levels",
    ),
    Experiment(
        "teacher-noise",
        "Does the student correct its teacher when part of the advice is corrupted, with and "
        "without reweighting by returns?",
        (
            *_reweighted_or_not((Variant("no noise"), *_NOISE)),
            _RL_ONLY,
        ),
        baseline="no noise",
        tasks=("ColoredDoorKey",),
        seeds=10,
        settings=_SMALL,
        figure="levels",
    ),
    Experiment(
        "questions",
        "Which questions are worth asking? Shares of them in several orders, with a perfect reader "
        "of the mission",
        (
            Variant("all questions", PRETRAIN),
            *(
                Variant(
                    f"{share:.0%} {order}",
                    PRETRAIN,
                    {"label": {"share": share, "order": order}},
                )
                for share in (0.01, 0.05, 0.2)
                for order in ("first", "random", "visits", "uncertain", "spread", "change")
            ),
        ),
        baseline="all questions",
        tasks=("MiniGrid-GoToDoor-8x8-v0", "MiniGrid-Fetch-8x8-N3-v0"),
        seeds=5,
        settings={
            "teacher": {"teacher": "expert"},
            **_PLAYED,
            "collect": {"steps": 4_000, "rounds": 4, "ask": False},
            "pretrain": {"epochs": 20},
            "finetune": {"steps": 0},
        },
        figure="levels",
    ),
    Experiment(
        "teacher-quality",
        "Does a better teacher make a better student, and how far can a student get beyond it?",
        (
            _taught_by("Vicuna-33B, recorded", teacher="recorded/vicuna-33b"),
            *(
                _taught_by(f"SmolLM2, {name}", teacher="embedded", **how)
                for name, how in _ELICITATIONS.items()
            ),
            _taught_by("SmolLM2, scores of plans", teacher="embedded"),
            *(_faulty(f"Vicuna, {share:.0%} noise", "random", share) for share in (0.2, 0.4, 1.0)),
            _RL_ONLY,
        ),
        baseline="RL only",
        settings=_SMALL,
        figure="levels",
    ),
    Experiment(
        "teacher-sizes",
        "How large must the LLM be? Students of a tenth of its answers, where it has to read the "
        "mission",
        (
            *(
                Variant(label, PRETRAIN, {"teacher": {"teacher": f"embedded/{model}", "orders": 1}})
                for label, model in (
                    ("SmolLM2-135M", "smollm2-135m"),
                    ("Qwen2.5-Coder-0.5B", "qwen2.5-coder-0.5b"),
                    ("Qwen2.5-Coder-1.5B", "qwen2.5-coder-1.5b"),
                )
            ),
            Variant("hand-written rules", PRETRAIN, {"teacher": {"teacher": "expert"}}),
        ),
        baseline="SmolLM2-135M",
        tasks=("MiniGrid-GoToDoor-8x8-v0", "MiniGrid-Fetch-8x8-N3-v0"),
        seeds=5,
        settings=_A_TENTH_ANSWERED,
        figure="levels",
    ),
    Experiment(
        "generalization",
        "Do students keep their level in rooms that nothing was trained on, and does the teacher?",
        (_RL_ONLY, Variant("pretraining only", PRETRAIN), Variant("all", TEACH)),
        baseline="RL only",
        tasks=("SimpleDoorKey",),
        seeds=5,
        settings=_SMALL,
        figure="shifts",
        shifted=True,
    ),
)


_EARLIER_NAMES = {"generalisation": "generalization"}  # until version 0.1


def find_experiment(name: str) -> Experiment:
    """Return the experiment of this name.

    Raises:
        ConfigError: there is none.
    """
    by_name = {experiment.name: experiment for experiment in EXPERIMENTS}
    name = _EARLIER_NAMES.get(name, name)
    if name not in by_name:
        raise ConfigError(
            f"there is no experiment {name!r}; choose one of {', '.join(by_name)} (`llm4teach "
            "experiment --list` explains them)"
        )
    return by_name[name]
