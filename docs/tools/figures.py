"""Draw the documentation's diagrams: python docs/tools/figures.py."""

from __future__ import annotations

import math
from pathlib import Path

from svg import arrow, bars, box, curve, picture, text

from llm4teach.student.training.kl_schedules import Constant, Cosine, LinearToPlateauThenOff

IMAGES = Path(__file__).resolve().parents[1] / "images"
LIKELY = [("go to red door", 0.7), ("explore", 0.2), ("open red door", 0.1)]


def how_it_works() -> str:
    """The pipeline: five stages, and the two places where the LLM is asked."""
    stages = [
        ("collect", "play options", "in the environment"),
        ("label", "ask the LLM once", "per distinct state"),
        ("pretrain", "distill the advice", "no environment"),
        ("finetune", "PPO plus a decaying", "KL term to the advice"),
        ("evaluate", "held-out episodes", "no LLM"),
    ]
    parts = []
    for i, (name, *lines) in enumerate(stages):
        x = 20 + i * 172
        parts.append(box(x, 100, 144, 70, [name, *lines], "accent" if i in (1, 3) else "box"))
        if i:
            parts.append(arrow((x - 28, 135), (x, 135)))
    parts += [
        box(192, 20, 144, 42, ["LLM"], "warm"),
        arrow((264, 62), (264, 100)),
        arrow((336, 41), (608, 41), (608, 100)),
        text(346, 33, "only states without advice", "faint"),
        box(20, 222, 316, 46, ["trajectories and advice", "Parquet, append-only"]),
        box(364, 222, 316, 46, ["student", "a small policy; exports to ONNX"]),
        box(708, 222, 144, 46, ["report.html"]),
        arrow((92, 170), (92, 222)),
        arrow((264, 170), (264, 222)),
        arrow((436, 170), (436, 222)),
        arrow((608, 170), (608, 222)),
        arrow((780, 170), (780, 222)),
        arrow((364, 245), (350, 245), (350, 195), (120, 195), (120, 170)),
        text(128, 190, "the next round", "faint"),
    ]
    return picture(872, 288, "The pipeline: collect, label, pretrain, finetune, evaluate", *parts)


def state() -> str:
    """Many observations become one text with one key."""
    parts = [
        box(20 + 12 * i, 30 + 14 * i, 130, 60, ["observation"] if i == 2 else [""])
        for i in range(3)
    ]
    parts += [
        arrow((180, 88), (236, 88)),
        text(180, 78, "describe", "faint"),
        box(
            240,
            58,
            290,
            60,
            ["You see: closed red door.", "You hold: nothing. Mission: …"],
            "accent",
        ),
        arrow((530, 88), (590, 88)),
        text(540, 78, "hash", "faint"),
        box(594, 62, 126, 52, ["state_key", "9f31c2…"]),
        text(240, 142, "state_text: equal texts are one state, labeled once", "faint"),
    ]
    return picture(740, 164, "Observations, the state's text and its key", *parts)


def option() -> str:
    """An option acts for several steps until it is done."""
    parts = [box(20, 46, 150, 54, ["go to red door", "an option"], "accent")]
    for i, action in enumerate(["left", "forward", "forward", "done"]):
        x = 220 + i * 128
        parts += [arrow((x - (50 if i == 0 else 28), 73), (x, 73))]
        parts += [box(x, 52, 100, 42, [action], "box" if i < 3 else "warm")]
    parts.append(text(220, 124, "primitive actions, one per env step", "faint"))
    return picture(740, 146, "An option chooses primitive actions until it is done", *parts)


def plan() -> str:
    """A plan's first unfinished option acts."""
    parts = [
        text(20, 36, "plan: pick up key, then open door", "title"),
        box(20, 56, 190, 54, ["pick up key", "done"]),
        arrow((210, 83), (264, 83)),
        box(268, 56, 190, 54, ["open door", "acts now"], "accent"),
        arrow((458, 83), (520, 83)),
        box(524, 56, 190, 54, ["action: forward"]),
    ]
    return picture(740, 130, "The first unfinished option of a plan acts", *parts)


def advice() -> str:
    """A distribution over plans."""
    parts = [
        box(20, 36, 220, 70, ["state_text", "sees the red door", "mission: go to it"]),
        arrow((240, 71), (300, 71)),
        box(304, 46, 100, 50, ["LLM"], "warm"),
        arrow((404, 71), (456, 71)),
        text(464, 28, "advice: P(plan | state_text)", "title"),
        bars(464, 56, LIKELY),
    ]
    return picture(740, 130, "Advice is a distribution over plans", *parts)


def grounding() -> str:
    """From plans to primitive actions."""
    actions = [("forward", 0.8), ("left", 0.1), ("toggle", 0.1)]
    parts = [
        text(20, 32, "P(plan | state_text)", "title"),
        bars(20, 60, LIKELY),
        arrow((310, 80), (420, 80)),
        text(310, 66, "each plan's action", "faint"),
        text(306, 100, "in this observation", "faint"),
        text(446, 32, "teacher_probs: P(action | observation)", "title"),
        bars(446, 60, actions, kind="hot"),
    ]
    return picture(800, 136, "Grounding turns plans into primitive actions", *parts)


def reweighting() -> str:
    """Returns change the advice."""
    names, probabilities, returns = (
        ["go to blue door", "explore", "go to red door"],
        [0.6, 0.2, 0.2],
        [0.1, 0.4, 0.9],
    )
    weights = [p * math.exp(q / 0.25) for p, q in zip(probabilities, returns, strict=True)]
    after = [weight / sum(weights) for weight in weights]
    parts = [
        text(20, 32, "advice", "title"),
        bars(20, 60, list(zip(names, probabilities, strict=True)), 80),
        text(294, 32, "mean return", "title"),
        *(text(294, 60 + 24 * i, f"× exp({q:g} / temperature)") for i, q in enumerate(returns)),
        arrow((474, 80), (524, 80)),
        text(536, 32, "reweighted advice", "title"),
        bars(536, 60, list(zip(names, after, strict=True)), 80, "hot"),
    ]
    return picture(800, 136, "Returns of followed plans reweight the advice", *parts)


def kl_coef() -> str:
    """Three schedules of kl_coef."""
    off, steps = 100.0, range(0, 131)
    schedules = [
        ("plateau (default)", "", LinearToPlateauThenOff(1.0, 0.1, 50.0, off)),
        ("cosine", "two", Cosine(1.0, off)),
        ("constant", "three", Constant(1.0, off)),
    ]
    parts = [text(20, 34, "kl_coef", "title"), text(566, 196, "env steps", "faint end")]
    parts.append(arrow((40, 178), (570, 178)))
    parts.append(arrow((40, 178), (40, 44)))
    for i, (name, kind, schedule) in enumerate(schedules):
        parts.append(curve([(40 + 4 * s, 178 - 120 * schedule(s)) for s in steps], kind))
        parts.append(curve([(596, 70 + 28 * i), (626, 70 + 28 * i)], kind))
        parts.append(text(634, 75 + 28 * i, name, "small"))
    parts.append(text(440, 196, "kl_off", "faint middle"))
    return picture(760, 212, "kl_coef over env steps for three schedules", *parts)


def badge(name: str, value: str) -> str:
    """A small label of two fields."""
    left, right = 9 + 7 * len(name), 10 + 7 * len(value)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">'
        f"<title>{name}: {value}</title>"
        f'<rect width="{left + right}" height="20" rx="3" fill="#0969da"/>'
        f'<path d="M3 0h{left - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#444c56"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" '
        f'text-anchor="middle"><text x="{left / 2}" y="14">{name}</text>'
        f'<text x="{left + right / 2}" y="14">{value}</text></g></svg>\n'
    )


def pictures() -> dict[str, str]:
    """All pictures by file name."""
    drawn = (how_it_works, state, option, plan, advice, grounding, reweighting, kl_coef)
    return {
        **{f"{draw.__name__}.svg": draw() for draw in drawn},
        "badge_python.svg": badge("python", "3.11+"),
        "badge_license.svg": badge("license", "Apache-2.0"),
        "badge_paper.svg": badge("paper", "arXiv 2311.13373"),
    }


if __name__ == "__main__":
    for file_name, drawing in pictures().items():
        (IMAGES / file_name).write_text(drawing, encoding="utf-8")
