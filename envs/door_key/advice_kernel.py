"""State ids and grounded advice of whole batches of observations, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm4teach.envs.door_key.observation_kernel import (
    meet_colors,
    neutral_name,
    new_scratch,
    take_apart,
)
from llm4teach.envs.door_key.option_kernel import CANNOT, DONE, decide
from llm4teach.envs.grid.options import DOOR, KEY
from llm4teach.envs.kernels.jit import compiled


class PlanArrays(NamedTuple):
    """Mixtures of plans as arrays; each points to a range of the next."""

    plans: NDArray[np.int64]  # (n_mixtures + 1,): where a mixture's plans start
    shares: NDArray[np.float64]  # (n_plans,): their probabilities
    steps: NDArray[np.int64]  # (n_plans + 1,): where a plan's options start
    options: NDArray[np.int64]  # (n_steps,): rows of the vocabulary
    vocabulary: NDArray[np.int64]  # (n_options, 4): the distinct options; see option_kernel.decide


@compiled
def ground_all(
    observations: NDArray[np.uint8],
    which: NDArray[np.int64],
    plans: PlanArrays,
    lava_blind: bool,
    neutral_colors: bool,
    probs: NDArray[np.float32],
) -> int:
    """Fill ``probs`` with the mixtures' policies; every distinct option is decided once.

    Args:
        observations: uint8 (N, width, height, 4).
        which: each observation's mixture, int (N,).
        plans: of the mixtures.
        lava_blind: paths lead through lava as if it were floor.
        neutral_colors: ``color1`` is the first color met; see `meet_colors`.
        probs: filled, float32 (N, n_actions); see Task.ground.

    Returns:
        -1, or the row of an observation that has no agent.
    """
    n_actions = probs.shape[1]
    scratch = new_scratch(observations.shape[1], observations.shape[2])
    decisions = np.zeros(len(plans.vocabulary), np.int64)
    decided_in = np.full(len(plans.vocabulary), -1)  # the row that a decision belongs to
    for row in range(len(observations)):
        observation, chances = observations[row], probs[row]
        chances[:] = 0
        n_things = take_apart(observation, lava_blind, scratch)
        if n_things < 0:
            return row
        n_colors = meet_colors(observation, n_things, scratch) if neutral_colors else 0
        mixture = which[row]
        for plan in range(plans.plans[mixture], plans.plans[mixture + 1]):
            decision = DONE
            for step in range(plans.steps[plan], plans.steps[plan + 1]):
                option = plans.options[step]
                if decided_in[option] != row:
                    decided_in[option] = row
                    decisions[option] = decide(
                        observation, n_things, n_colors, scratch, plans.vocabulary[option]
                    )
                decision = decisions[option]
                if decision != DONE:
                    break
            if decision in (DONE, CANNOT):
                continue
            n_equal = 0
            for action in range(n_actions):
                n_equal += decision >> action & 1
            for action in range(n_actions):
                if decision >> action & 1:
                    chances[action] += np.float32(plans.shares[plan] / n_equal)
        total = np.float32(0)
        for action in range(n_actions):
            total += chances[action]
        if total > 0:
            for action in range(n_actions):
                chances[action] /= total
    return -1


@compiled
def identify_all(
    observations: NDArray[np.uint8], counted: bool, neutral_colors: bool, ids: NDArray[np.int64]
) -> int:
    """Fill ``ids`` with what was seen, packed as `state.pack` does.

    Args:
        observations: uint8 (N, width, height, 4).
        counted: doors are counted, not distinguished by their color.
        neutral_colors: keys and doors are called by neutral names of their colors.
        ids: filled, int64 (N,).

    Returns:
        -1, or the row of an observation that has no agent.
    """
    scratch = new_scratch(observations.shape[1], observations.shape[2])
    for row in range(len(observations)):
        observation, agent = observations[row], scratch.agent
        n_things = take_apart(observation, True, scratch)
        if n_things < 0:
            return row
        n_colors = meet_colors(observation, n_things, scratch) if neutral_colors else 0
        keys, doors, n_doors = 0, 0, 0
        for i in range(n_things):
            x, y = scratch.things[i]
            thing, color = observation[x, y, 0], np.int64(observation[x, y, 1])
            if x == agent[0] and y == agent[1]:
                continue
            if thing == KEY:
                keys |= 1 << (neutral_name(scratch, n_colors, color) - 1)
            elif thing == DOOR:
                n_doors += 1
                if n_doors == 1:
                    doors = neutral_name(scratch, n_colors, color)
        held = neutral_name(scratch, n_colors, agent[4]) if agent[3] == KEY else 0
        ids[row] = keys | (n_doors if counted else doors) << 2 | held << 4
    return -1
