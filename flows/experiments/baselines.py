"""The variants of `compare` and of the experiment `controls`: the method, its parts, baselines."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from llm4teach.flows.experiments.spec import WITHOUT_LLM, Variant
from llm4teach.flows.experiments.trial import (
    DISCRETE_BC,
    DISCRETE_CQL,
    HIERARCHICAL,
    PPO,
    PPO_KL,
    PRETRAIN,
    TEACH,
)

_NO_LLM = {name: section.model_dump() for name, section in WITHOUT_LLM.items()}
AS_PUBLISHED = {"pretrain": {"reweight_temperature": 0.0}}
# Trajectories of the teacher's own policy alone: its plans are followed from the first step on,
# without exploration, and no student takes turns with it.
_CLONED = {
    "collect": {"ask": True, "teacher_fraction": 1.0, "plan_epsilon": 0.0, "action_epsilon": 0.0},
    **AS_PUBLISHED,
}
VARIANTS: dict[str, Variant] = {  # by the name that `compare --methods` takes
    "ppo": Variant("plain PPO", PPO),
    "hrl": Variant("hierarchical RL", HIERARCHICAL),
    "bc": Variant("behavior cloning", PRETRAIN, _CLONED),
    "discrete-bc": Variant("DiscreteBC (d3rlpy)", DISCRETE_BC, _CLONED),
    "discrete-cql": Variant("DiscreteCQL (d3rlpy)", DISCRETE_CQL, _CLONED),
    "pretrain": Variant("pretraining only", PRETRAIN),
    "ppo-kl": Variant("PPO + KL, no pretraining", PPO_KL),
    "paper-no-llm": Variant("the paper's method, no LLM", TEACH, {**AS_PUBLISHED, **_NO_LLM}),
    "paper": Variant("the paper's method (no reweighting)", TEACH, AS_PUBLISHED),
    "no-llm": Variant("whole method, no LLM", TEACH, _NO_LLM),
    "teach": Variant("whole method", TEACH),
}


def chosen_variants(only: Sequence[str], teacher: str) -> tuple[tuple[Variant, ...], list[str]]:
    """Return the variants with these names, and which of all were left out.

    Args:
        only: names; none for all that can be trained here.
        teacher: name of the teacher. With `none` the controls without an LLM are the methods
            themselves, so they are not trained twice.
    """
    controls = [name for name in VARIANTS if name.endswith("no-llm")]
    names = [name for name in VARIANTS if not only or name in only]
    if teacher == "none":
        others = [name for name in names if name not in controls]
        names = others or [controls[-1]]
    missing = [] if only or has_d3rlpy() else [n for n in names if VARIANTS[n].method.algorithm]
    return tuple(VARIANTS[name] for name in names if name not in missing), missing


def has_d3rlpy() -> bool:
    """Whether d3rlpy is installed."""
    return find_spec("d3rlpy") is not None
