"""LLM4Teach: an LLM labels each distinct state once, and a small RL policy learns from its advice.

`python -m llm4teach` runs the command line. Importing this package imports nothing else.
"""

from __future__ import annotations

# Run from the repository's root, this folder hides an installed package, whose sub-packages are
# then found through the rest of sys.path.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)


def __getattr__(name: str) -> str:
    """Look the version up only when it is asked for: reading the metadata takes a while."""
    if name == "__version__":
        from importlib.metadata import version

        return version("llm4teach")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
