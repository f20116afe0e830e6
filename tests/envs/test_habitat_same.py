"""What is quick in the kinematic world against plain numpy over all boxes, bit by bit."""

import math

import numpy as np
import pytest

from llm4teach.envs.habitat.worker import layout
from llm4teach.envs.habitat.worker.kinematic.apartment import Apartment, apartment, scene_name
from llm4teach.envs.habitat.worker.kinematic.boxes import Boxes, directions
from llm4teach.envs.habitat.worker.kinematic.navigable import COARSE_M, FINE_M
from llm4teach.envs.habitat.worker.kinematic.world import World

SEEDS = (2, 9, layout.HELD_OUT_START + 1)


class PlainBoxes(Boxes):
    """Looks at all boxes each time, in arrays."""

    def _squared_to_all(self, x: float, y: float) -> np.ndarray:  # type: ignore[type-arg]
        x0, y0, x1, y1 = self.bounds.T
        gap_x = np.maximum(np.abs((x0 + x1) / 2 - x) - (x1 - x0) / 2, 0)
        gap_y = np.maximum(np.abs((y0 + y1) / 2 - y) - (y1 - y0) / 2, 0)
        return np.asarray(gap_x * gap_x + gap_y * gap_y)

    def is_free(self, x: float, y: float, radius: float) -> bool:
        return bool(self._squared_to_all(x, y).min() >= radius * radius)

    def push_out(self, x: float, y: float, radius: float) -> tuple[float, float] | None:
        for _ in range(4):
            squared = self._squared_to_all(x, y)
            n = int(squared.argmin())
            distance = math.sqrt(squared[n])
            if distance >= radius:
                return x, y
            if distance == 0:
                return None
            push = (radius + 1e-9) / distance
            x0, y0, x1, y1 = self.bounds[n]
            from_x, from_y = np.clip(x, x0, x1), np.clip(y, y0, y1)
            x, y = float(from_x + (x - from_x) * push), float(from_y + (y - from_y) * push)
        return None

    def distances(self, x: float, y: float, rays: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        inverse_x, inverse_y = 1.0 / rays
        x0, y0, x1, y1 = self.bounds.T[:, :, None]
        x_0, x_1, y_0, y_1 = x0 - x, x1 - x, y0 - y, y1 - y
        x_0, x_1, y_0, y_1 = x_0 * inverse_x, x_1 * inverse_x, y_0 * inverse_y, y_1 * inverse_y
        enter = np.maximum(np.minimum(x_0, x_1), np.minimum(y_0, y_1))
        leave = np.minimum(np.maximum(x_0, x_1), np.maximum(y_0, y_1))
        return np.where((enter > leave) | (leave < 0), np.inf, np.maximum(enter, 0))

    def ranges(self, x: float, y: float, rays: np.ndarray, most: float) -> np.ndarray:  # type: ignore[type-arg]
        near = self._squared_to_all(x, y) <= most * most
        return np.minimum(self.distances(x, y, rays)[near].min(0, initial=most), most)

    def sees(self, x: float, y: float, to_x: float, to_y: float, through: int = -1) -> bool:
        length = max(math.hypot(to_x - x, to_y - y), 1e-9)
        ray = np.array([[(to_x - x) / length], [(to_y - y) / length]])
        ray[np.abs(ray) < 1e-9] = 1e-9
        found = self.distances(x, y, ray)[:, 0]
        if through >= 0:
            found[through] = np.inf
        return bool(found.min() >= length)


def plain(scene: Apartment) -> Apartment:
    return Apartment(
        **{**vars(scene), "boxes": PlainBoxes(scene.boxes.bounds, scene.boxes.heights)}
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_nearby_are_as_good_as_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = apartment(scene_name(seed))
    boxes, slow = scene.boxes, plain(scene).boxes
    touched = hidden = 0
    for _ in range(1_500):
        x, y = (
            float(v) for v in rng.uniform(-0.5, 1, 2) + rng.uniform(0, [scene.width, scene.depth])
        )
        other = [float(v) for v in rng.uniform(0, [scene.width, scene.depth])]
        if rng.random() < 0.2:  # straight along an axis, where a component is all but 0
            other[1] = y
        radius = float(rng.uniform(0.05, 0.25))
        assert boxes.is_free(x, y, radius) == slow.is_free(x, y, radius)
        pushed = boxes.push_out(x, y, radius)
        assert pushed == slow.push_out(x, y, radius)
        through = int(rng.integers(-1, len(boxes.bounds)))
        seen = boxes.sees(x, y, other[0], other[1], through)
        assert seen == slow.sees(x, y, other[0], other[1], through)
        touched += pushed is not None and pushed != (x, y)
        hidden += not seen
    assert touched > 100 and 200 < hidden < 1_400


@pytest.mark.parametrize("seed", SEEDS)
def test_rays_and_distances_to_the_goal_are_the_plain_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = apartment(scene_name(seed))
    slow, area = plain(scene).boxes, scene.area
    nx, ny = area.to_goal.shape
    for _ in range(150):
        x, y = (float(v) for v in rng.uniform(0, [scene.width, scene.depth]))
        rays = directions(rng.integers(12) * math.pi / 6 + np.arange(24) * math.pi / 12)
        np.testing.assert_array_equal(
            scene.boxes.ranges(x, y, rays, 5.0), slow.ranges(x, y, rays, 5.0)
        )
        i, j = int(x / FINE_M), int(y / FINE_M)
        around = [(a, b) for a in (i - 1, i, i + 1) for b in (j - 1, j, j + 1)]
        ways = [
            float(area.to_goal[a, b]) + math.hypot((a + 0.5) * FINE_M - x, (b + 0.5) * FINE_M - y)
            for a, b in around
            if 0 <= a < nx and 0 <= b < ny
        ]
        if min(ways) < math.inf:
            expected = 0.0 if area.to_goal[i, j] == 0 else min(ways)
            assert area.distance_to_goal(x, y) == expected


def test_the_next_place_is_the_neighbor_with_the_fewest_steps() -> None:
    routes = apartment(scene_name(5)).routes
    for ways in (routes.to_goal, *routes.to_middle):
        for n, steps in enumerate(ways.steps):
            ny = routes._shape[1]
            x, y = (n // ny + 0.5) * COARSE_M, (n % ny + 0.5) * COARSE_M
            led = routes.next_place(ways, x, y)
            open_ways = [ways.steps[near] for near in routes._near[n] if ways.steps[near] >= 0]
            best = min(open_ways, default=-1)
            if steps == 0 or best < 0 or 0 <= steps <= best:
                assert led is None
            else:
                assert led is not None and ways.steps[routes.flat_cell(*led)] == best
                assert math.dist(led, (x, y)) == COARSE_M


@pytest.mark.parametrize("seed", SEEDS)
def test_a_robot_among_plain_boxes_goes_the_same_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = apartment(scene_name(seed))
    x, y = (float(v) for v in scene.room_middles[-1])
    quick, slow = World(scene, x, y, 0.0), World(plain(scene), x, y, 0.0)
    bumps = 0
    for _ in range(500):
        action = int(rng.choice(5, p=(0.7, 0.12, 0.12, 0.03, 0.03)))
        for world in (quick, slow):
            acts = world.forward, lambda w=world: w.turn(1), lambda w=world: w.turn(-1)
            (*acts, world.reach, world.grip)[action]()
        assert (quick.x, quick.y, quick.heading) == (slow.x, slow.y, slow.heading)
        assert quick.flags() == slow.flags()
        np.testing.assert_array_equal(quick.ranges(), slow.ranges())
        np.testing.assert_array_equal(quick.targets(), slow.targets())
        bumps += quick.blocked
    assert bumps > 50
