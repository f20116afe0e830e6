"""The arguments of `llm4teach import`."""

from __future__ import annotations

from llm4teach.flows.cli.parser import Parser
from llm4teach.flows.runtime.settings import ConfigError


def add_import_arguments(parser: Parser) -> None:
    """Add what is no setting."""
    parser.add_argument(
        "source", metavar="SOURCE", help=".csv or .parquet file, or a Minari dataset's folder or id"
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="OURS=THEIRS",
        help="the file's names for episode_id, t, seed, action, reward, terminated, truncated, "
        "observation, behavior, action_logprob",
    )
    parser.add_argument(
        "--skip", action="store_true", help="leave out episodes that do not fit; else none is taken"
    )


def column_map(pairs: list[str]) -> dict[str, str]:
    """Parse ``OURS=THEIRS`` pairs.

    Raises:
        ConfigError: one has no ``=``.
    """
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--columns takes pairs like action=act; {pair!r} is none")
    return dict(pair.split("=", 1) for pair in pairs)
