"""Where a robot can go, how far it is, and the coarser map that its planners know."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from llm4teach.envs.habitat.worker.kinematic.boxes import Boxes
from llm4teach.envs.habitat.worker.layout import REACH_M, Array

FINE_M, COARSE_M = 0.25, 0.5  # sides of a cell
_ARM_M = REACH_M - 0.05
_GAP_M = 0.1
_SIDES = ((1, 0), (0, 1), (-1, 0), (0, -1))
# Steps to the 16 nearest directions: along these a path is at most 2.7% longer than a straight one.
_STEPS = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if np.gcd(i, j) == 1]


class NavigableArea:
    """A fine grid of the places where the robot's disc fits, with distances to the goal.

    The goal is to stand where the arm reaches the object.
    """

    def __init__(self, boxes: Boxes, width: float, depth: float, radius: float) -> None:
        self._centers, self._shape = _grid(width, depth, FINE_M)
        self.free = (boxes.clearance(*self._centers.T) >= radius).reshape(self._shape)
        self._boxes, self._radius = boxes, radius

    def connect(self, x: float, y: float) -> bool:
        """Measure all distances to where (x, y) can be reached; whether most of it is connected."""
        start = np.full(self.free.size, np.inf)
        start[_in_reach(self._boxes, self._centers, self.free.ravel(), x, y)] = 0.0
        start = start.reshape(self._shape)
        self._costs = _step_costs(self.free)
        self.to_goal = _relax(start, self._costs)  # (nx, ny), meters; inf where there is no way
        self._to_goal = self.to_goal.tolist()
        reached = np.isfinite(self.to_goal)
        return bool(reached.sum() > 0.9 * self.free.sum())

    def is_navigable(self, x: float, y: float) -> bool:
        """Whether the robot can stand here."""
        return self._boxes.is_free(x, y, self._radius)

    def distance_to_goal(self, x: float, y: float) -> float:
        """Length of the shortest way to the goal in meters, from cell to cell."""
        nx, ny = self._shape
        i, j = int(x / FINE_M), int(y / FINE_M)
        costs = self._to_goal  # the same as lists: single numbers are read from them quicker
        if 0 <= i < nx and 0 <= j < ny and costs[i][j] == 0:
            return 0.0
        best = math.inf
        for a in range(max(i - 1, 0), min(i + 2, nx)):
            row, away_x = costs[a], (a + 0.5) * FINE_M - x
            for b in range(max(j - 1, 0), min(j + 2, ny)):
                if row[b] < best:
                    best = min(best, row[b] + math.hypot(away_x, (b + 0.5) * FINE_M - y))
        if best == math.inf:  # a corner that no cell's middle lies in
            away = np.hypot(*(self._centers - (x, y)).T).reshape(self._shape)
            best = float((self.to_goal + away).min())
        return best

    def shortest_path(self, x: float, y: float) -> list[tuple[float, float]]:
        """Cell by cell from here to the goal, empty if there is no way."""
        i, j = int(x / FINE_M), int(y / FINE_M)
        path: list[tuple[float, float]] = []
        while np.isfinite(self.to_goal[i, j]):
            path.append(((i + 0.5) * FINE_M, (j + 0.5) * FINE_M))
            if self.to_goal[i, j] == 0:
                return path
            steps = [(i + a, j + b) for a, b in _STEPS if self._costs[a, b][i, j] < np.inf]
            cell = i, j
            i, j = min(
                steps,
                key=lambda c: self.to_goal[c] + FINE_M * math.dist(c, cell),
            )
        return []

    def starts(self, least: float) -> Array:
        """Free places at least ``least`` meters of way from the goal, float (N, 2)."""
        far = np.isfinite(self.to_goal) & (self.to_goal >= least)
        places: Array = self._centers[far.ravel()]
        return places

    def goals(self) -> Array:
        """Free places from which the arm reaches the goal, float (N, 2)."""
        places: Array = self._centers[(self.to_goal == 0).ravel()]
        return places


class Ways(NamedTuple):
    """The ways that lead to one place or a few, from each flat cell of a `RouteMap`."""

    steps: list[int]  # to the end; -1 where there is no way
    places: list[tuple[float, float] | None]  # middle of the next cell; None at the end


class RouteMap:
    """The planners' map: half-meter cells, judged by their middles, and ways in four directions.

    That is cheap and a little wrong, as such maps are: ways have corners where none are needed, and
    half-way between two middles there only has to be a gap of `_GAP_M`, too narrow for the robot.
    """

    def __init__(self, boxes: Boxes, width: float, depth: float, radius: float) -> None:
        self._centers, self._shape = _grid(width, depth, COARSE_M)
        x, y = self._centers.T
        self._free = (boxes.clearance(x, y) >= radius).reshape(self._shape)
        self._boxes = boxes
        half = COARSE_M / 2
        ways = [
            (boxes.clearance(x + i * half, y + j * half) >= _GAP_M).tolist() for i, j in _SIDES
        ]  # whether one can go on from each cell in each direction
        nx, ny = self._shape
        self._near: list[list[int]] = [[] for _ in range(nx * ny)]  # by flat cell: flat cells
        for n in range(nx * ny):
            for (i, j), is_open in zip(_SIDES, ways):
                if is_open[n] and 0 <= n // ny + i < nx and 0 <= n % ny + j < ny:
                    self._near[n].append(n + i * ny + j)

    def nearest_free(self, x: float, y: float) -> tuple[float, float]:
        """Middle of the nearest free cell."""
        away = np.hypot(*(self._centers - (x, y)).T)
        away[~self._free.ravel()] = np.inf
        nearest = self._centers[int(away.argmin())]
        return float(nearest[0]), float(nearest[1])

    def connect(self, x: float, y: float, middles: Array) -> bool:
        """Measure the ways to where (x, y) can be reached, and to each of ``middles``, (M, 2).

        Returns:
            Whether all of them lead to each other.
        """
        goals = _in_reach(self._boxes, self._centers, self._free.ravel(), x, y)
        ends = [self.flat_cell(*middle) for middle in middles]
        self.to_goal = self._ways(goals)
        self.to_middle = [self._ways([end]) for end in ends]
        return all(ways.steps[end] >= 0 for ways in (self.to_goal, *self.to_middle) for end in ends)

    def flat_cell(self, x: float, y: float) -> int:
        """The cell of a place, or the nearest inside, as a place in the fields."""
        nx, ny = self._shape
        i, j = min(max(int(x / COARSE_M), 0), nx - 1), min(max(int(y / COARSE_M), 0), ny - 1)
        return i * ny + j

    def next_place(self, ways: Ways, x: float, y: float) -> tuple[float, float] | None:
        """Middle of the next cell on the way from a place, None where it ends.

        From a cell that is not free, or has no way, it leads to a neighbor that has one.
        """
        return ways.places[self.flat_cell(x, y)]

    def _ways(self, goals: list[int]) -> Ways:
        steps = self._search(goals)
        return Ways(steps, [self._next_place(steps, cell) for cell in range(len(steps))])

    def _next_place(self, steps: list[int], cell: int) -> tuple[float, float] | None:
        distance = steps[cell]
        if distance == 0:
            return None
        best, place = (distance if distance > 0 else 1 << 30), -1
        for near in self._near[cell]:
            if 0 <= steps[near] < best:
                best, place = steps[near], near
        if place < 0:
            return None
        ny = self._shape[1]
        return (place // ny + 0.5) * COARSE_M, (place % ny + 0.5) * COARSE_M

    def _search(self, goals: list[int]) -> list[int]:
        """Breadth first from the goals: steps from each flat cell, -1 without a way."""
        free = self._free.ravel().tolist()
        steps = [-1] * len(free)
        queue = deque(goals)
        for goal in goals:
            steps[goal] = 0
        while queue:
            cell = queue.popleft()
            for near in self._near[cell]:
                if steps[near] < 0 and free[near]:
                    steps[near] = steps[cell] + 1
                    queue.append(near)
        return steps


def _in_reach(boxes: Boxes, centers: Array, free: Array, x: float, y: float) -> list[int]:
    """Flat free cells from whose middles the arm reaches (x, y)."""
    near = free & (np.hypot(*(centers - (x, y)).T) <= _ARM_M)
    return [
        int(n)
        for n in np.flatnonzero(near)
        if boxes.reaches(float(centers[n, 0]), float(centers[n, 1]), x, y)
    ]


def _grid(width: float, depth: float, side: float) -> tuple[Array, tuple[int, int]]:
    """Middles of the cells, float (nx * ny, 2), and the grid's shape."""
    shape = round(width / side), round(depth / side)
    i, j = np.indices(shape)
    return (np.stack([i.ravel(), j.ravel()], 1) + 0.5) * side, shape


def _step_costs(free: Array) -> dict[tuple[int, int], Array]:
    """Meters of a step in each of `_STEPS` from each cell, (nx, ny); inf where it is not free.

    The two cells that a slanting step passes have to be free as well, so that no corner is cut:
    (1, 0) and (0, 1) on the way to (1, 1), and (1, 0) and (1, 1) on the way to (2, 1).
    """
    costs = {}
    padded = np.pad(free, 2)
    for i, j in _STEPS:
        near = int(np.sign(i)), int(np.sign(j))
        diagonal = abs(i) == abs(j)
        passed = {(near[0], 0), (0, near[1])} if diagonal else {near, (int(i / 2), int(j / 2))}
        passable = free & _shifted(padded, i, j)
        for a, b in passed:
            passable = passable & _shifted(padded, a, b)
        costs[i, j] = np.where(passable, FINE_M * np.hypot(i, j), np.inf)
    return costs


def _relax(distances: Array, costs: dict[tuple[int, int], Array]) -> Array:
    """Shortest ways from where ``distances`` is 0, float (nx, ny), in meters."""
    padded = np.pad(distances, 2, constant_values=np.inf)
    middle = padded[2:-2, 2:-2]
    while True:
        before = middle.copy()
        for (i, j), cost in costs.items():
            np.minimum(middle, _shifted(padded, i, j) + cost, out=middle)
        if np.array_equal(before, middle):
            return before


def _shifted(padded: Array, i: int, j: int) -> Array:
    """The neighbors' values in an array with two more cells on each side."""
    nx, ny = padded.shape[0] - 4, padded.shape[1] - 4
    return padded[2 + i : 2 + i + nx, 2 + j : 2 + j + ny]
