"""Where results come from: the commit of the source, and the kind of machine."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]  # of the repository, in a checkout


def source_commit() -> str:
    """Return the commit that is checked out, with "+" after it if files have changed since.

    Empty if the source is no git checkout of its own, such as an installed package.
    """
    if not (_ROOT / ".git").exists():
        return ""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # there is no git, or it may not read here
        return ""
    return f"{commit}+" if changed else commit


def _git(*words: str) -> str:
    command = ["git", "-C", str(_ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


def machine() -> str:
    """Return the kind of machine, such as "Linux x86_64, 2 CPUs"; not its name."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
