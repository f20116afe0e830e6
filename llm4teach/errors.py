"""Errors that are shown to people as one message, each with its exit status."""

from __future__ import annotations


class LLM4TeachError(Exception):
    """Something that a person can fix; the message says what is wrong and what to do next."""

    exit_status = 1  # of the command: 1 if it failed, 2 if it was misused


class ConfigError(LLM4TeachError, ValueError):
    """A flag, an environment variable or a configuration file is wrong."""

    exit_status = 2


class TaskError(LLM4TeachError, ValueError):
    """There is no such task, or it cannot be used in this way."""

    exit_status = 2


class DatasetError(LLM4TeachError, ValueError):
    """A dataset, run or student is missing, damaged or does not fit."""


class TeacherError(LLM4TeachError, RuntimeError):
    """A teacher cannot be opened or cannot answer."""

    transient = False  # its server is gone or busy, and may be back after a pause
    permanent = False  # asking the same again will not help; another state may be answered
    failed_states: frozenset[str] = frozenset()  # keys of the states it is about; empty: all


class QueryError(LLM4TeachError, ValueError):
    """A query is wrong, or the workspace cannot answer it."""


class TrialError(LLM4TeachError, RuntimeError):
    """Trials of an experiment failed."""
