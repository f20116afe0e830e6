"""Teach Crafter twice: with no teacher, and with hand-written rules; print what each unlocks.

python crafter.py --collect 32768 --finetune 65536
"""

import argparse

import llm4teach as lt


def achievements(teacher: str, collect: int, finetune: int, episodes: int) -> dict[str, float]:
    """Teach a student; return how often its held-out episodes unlock each achievement."""
    workspace = f"crafter-{teacher}"
    run = lt.teach(
        "Crafter",
        teacher=teacher,
        workspace=workspace,
        collect={"steps": collect, "n_envs": 64},
        finetune={"steps": finetune},
        evaluate={"episodes": episodes},
    )
    rows = lt.query("achievements", workspace, run=run["run_id"]).to_pylist()
    sampled = [row for row in rows if (row["policy"], row["mode"]) == ("student", "sampled")]
    return {row["achievement"]: row["rate"] for row in sampled}


def main() -> None:
    """Teach both students and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect", type=int, default=32_768, help="env steps to collect")
    parser.add_argument("--finetune", type=int, default=65_536, help="env steps of fine-tuning")
    parser.add_argument("--episodes", type=int, default=100, help="held-out episodes")
    settings = vars(parser.parse_args())
    control, taught = (achievements(teacher, **settings) for teacher in ("none", "expert"))
    print(f"{'achievement':<20} {'none':>6} {'expert':>7}")
    for name in sorted(taught, key=lambda name: -taught[name]):
        print(f"{name:<20} {control[name]:>6.0%} {taught[name]:>7.0%}")


if __name__ == "__main__":
    main()
