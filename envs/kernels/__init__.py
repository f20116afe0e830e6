"""Compiled code that several tasks use: numba's cache, random numbers, lines of sight."""
