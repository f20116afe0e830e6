"""Compiled code: kept for the next process, renewed with its sources, never needed for --help."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llm4teach.envs.kernels.jit as jit
from llm4teach.envs.kernels.sight_kernel import visible
from llm4teach.student.model.cells_kernel import encode_cells

ENVS = Path(jit.__file__).resolve().parent
CALL = "import outer_kernel; print(outer_kernel.outer(1))"


def run(code: str, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def kernels(folder: Path, added: int) -> None:
    """Two modules of which one calls the other, beside a copy of jit.py."""
    shutil.copy(ENVS / "jit.py", folder)
    header = "from jit import compiled\n"
    (folder / "inner_kernel.py").write_text(
        f"{header}@compiled\ndef inner(x):\n    return x + {added}\n"
    )
    (folder / "outer_kernel.py").write_text(
        f"{header}from inner_kernel import inner\n@compiled\ndef outer(x):\n    return inner(x)\n"
    )


def test_a_changed_kernel_renews_those_that_call_it(tmp_path: Path) -> None:
    """numba alone would print 11 again: it looks at the caller's own file."""
    kernels(tmp_path, 10)
    assert run(CALL, tmp_path) == "11"
    cached = sorted((tmp_path / "__pycache__").glob("outer_kernel.outer*.nb?"))
    assert len(cached) == 2, "an index and the code"
    before = (tmp_path / "outer_kernel.py").stat()
    kernels(tmp_path, 20)
    os.utime(tmp_path / "outer_kernel.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(CALL, tmp_path) == "21"


def test_the_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    kernels(tmp_path, 10)
    hits = f"{CALL}; print(sum(outer_kernel.outer.stats.cache_hits.values()))"
    assert run(hits, tmp_path).split() == ["11", "0"]
    assert run(hits, tmp_path).split() == ["11", "1"]


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    """Neither the package's folder nor a user's cache folder: compile each time, but run."""
    kernels(tmp_path, 10)
    nowhere = tmp_path / "a file"
    nowhere.touch()
    blocked = tmp_path / "__pycache__"
    blocked.touch()  # a file where the folder would have to be, which stops even root
    variables = {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "TMPDIR": str(tmp_path)}
    assert run(CALL, tmp_path, **variables, PYTHONDONTWRITEBYTECODE="1") == "11"
    home = tmp_path / "home"
    home.mkdir()
    variables = {"HOME": str(home), "XDG_CACHE_HOME": str(home)}
    assert run(CALL, tmp_path, **variables, PYTHONDONTWRITEBYTECODE="1") == "11"
    assert list(home.rglob("outer_kernel.outer*.nbi")), "the user's cache folder takes it"


@pytest.mark.parametrize("kernel", [visible, encode_cells])
def test_every_kernel_carries_the_hash_of_its_source_and_of_all_it_may_call(kernel: Any) -> None:
    """The attribute is numba's own business; a numba without it must not go unnoticed."""
    source = Path(kernel.py_func.__code__.co_filename)
    assert kernel._cache._cache_file._source_stamp == jit._stamp(source)
