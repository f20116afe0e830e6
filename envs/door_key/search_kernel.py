"""Shortest paths over known free cells, turns counted: paths.py, compiled.

One 64-bit word a column (bit y is row y), so that a layer of the search is a dozen operations a
column, however many poses are in it. It runs from the goals to the agent.
"""

from __future__ import annotations

import numpy as np

from llm4teach.envs.door_key.observation_kernel import Scratch
from llm4teach.envs.grid.paths import FORWARD, LEFT, RIGHT
from llm4teach.envs.kernels.jit import compiled

# What an option decides: DONE, CANNOT, or else a set of primitive actions, bit a for action a.
DONE, CANNOT = 0, 1 << 7
_NONE, _ONE = np.uint64(0), np.uint64(1)


@compiled
def first_actions(scratch: Scratch) -> int:
    """All actions that start a shortest path to where one of ``targets`` is ahead.

    Returns:
        A set of actions, DONE if a target is ahead already, CANNOT if no path leads to one.
    """
    free, targets, agent = scratch.free, scratch.targets, scratch.agent
    here, after = scratch.reached[0], scratch.reached[1]
    x, heading, bit = agent[0], agent[2], _ONE << np.uint64(agent[1])
    width = len(free)
    low, high = width, 0  # known columns: all else is never reached
    found = _NONE
    for c in range(1, width - 1):
        f = free[c]
        if f:
            low, high = min(low, c), c
        here[0, c] = targets[c + 1] & f
        here[1, c] = targets[c] >> _ONE & f
        here[2, c] = targets[c - 1] & f
        here[3, c] = targets[c] << _ONE & f
        found |= here[0, c] | here[1, c] | here[2, c] | here[3, c]
    if not found or not free[x] & bit:
        return CANNOT
    if here[heading, x] & bit:
        return DONE
    for h in range(4):  # a shorter search before may have left poses beyond the known columns
        after[h, low - 1] = after[h, high + 1] = _NONE
    while True:
        changed = _NONE
        for c in range(low, high + 1):
            f, e, s, w, n = free[c], here[0, c], here[1, c], here[2, c], here[3, c]
            sides, ends = s | n, e | w  # one turn away from each other
            after[0, c] = e | sides | (here[0, c + 1] & f)
            after[1, c] = s | ends | (s >> _ONE & f)
            after[2, c] = w | sides | (here[2, c - 1] & f)
            after[3, c] = n | ends | (n << _ONE & f)
            changed |= (after[0, c] ^ e) | (after[1, c] ^ s) | (after[2, c] ^ w) | (after[3, c] ^ n)
        if after[heading, x] & bit:
            break
        if not changed:
            return CANNOT
        here, after = after, here
    actions = 0
    if here[(heading - 1) % 4, x] & bit:
        actions |= 1 << LEFT
    if here[(heading + 1) % 4, x] & bit:
        actions |= 1 << RIGHT
    ahead = bit << _ONE if heading == 1 else (bit >> _ONE if heading == 3 else bit)
    if here[heading, x + (1, 0, -1, 0)[heading]] & ahead:
        actions |= 1 << FORWARD
    return actions
