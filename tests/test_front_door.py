"""The front door: `import llm4teach` is light, and its errors carry the exit statuses."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import llm4teach
from llm4teach import errors

STATUSES = {
    "ConfigError": 2,
    "TaskError": 2,
    "DatasetError": 1,
    "TeacherError": 1,
    "QueryError": 1,
    "TrialError": 1,
}


def test_the_version_is_the_distributions() -> None:
    assert llm4teach.__version__ == version("llm4teach")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = llm4teach.nonsense


def test_every_error_has_an_exit_status() -> None:
    statuses = {kind.__name__: kind.exit_status for kind in errors.LLM4TeachError.__subclasses__()}
    assert statuses == STATUSES


def test_the_package_and_its_errors_import_nothing_else() -> None:
    code = (
        "import sys, llm4teach.errors; print([m for m in sys.modules if m.startswith('llm4teach')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['llm4teach', 'llm4teach.errors']"


def test_python_runs_it_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llm4teach", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"llm4teach {version('llm4teach')}\n")
