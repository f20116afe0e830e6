"""The kinematic world against slow, obvious versions of itself; no habitat-lab needed."""

import ast
import heapq
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from llm4teach.envs.habitat.state import flag, target
from llm4teach.envs.habitat.task import habitat_task
from llm4teach.envs.habitat.worker import layout
from llm4teach.envs.habitat.worker.kinematic.apartment import (
    ROBOT_RADIUS_M,
    Apartment,
    Pickable,
    apartment,
    scene_name,
)
from llm4teach.envs.habitat.worker.kinematic.boxes import Boxes, directions
from llm4teach.envs.habitat.worker.kinematic.navigable import FINE_M, NavigableArea, RouteMap
from llm4teach.envs.habitat.worker.kinematic.rendering import (
    _SLOPES,
    CAMERA_HEIGHT_M,
    depth_image,
    draw,
)
from llm4teach.envs.habitat.worker.kinematic.world import (
    World,
    heading_of,
    place_of,
    position_of,
    rotation_list,
)
from llm4teach.envs.habitat.worker.layout import DEPTH_SHAPE, VECTOR_SHAPE, encode, nav_pick_reward

WORKER = Path(layout.__file__).parent


def some_boxes(rng: np.random.Generator) -> Boxes:
    low = rng.uniform(0, 6, (12, 2))
    return Boxes(np.hstack([low, low + rng.uniform(0.1, 1.5, (12, 2))]), rng.uniform(0.3, 2, 12))


def inside(boxes: Boxes, x: float, y: float) -> bool:
    x0, y0, x1, y1 = boxes.bounds.T
    return bool(((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)).any())


def test_rays_end_where_walking_along_them_meets_a_box() -> None:
    rng = np.random.default_rng(0)
    checked = 0
    while checked < 15:
        boxes, (x, y), angle = some_boxes(rng), rng.uniform(0, 7, 2), rng.uniform(0, 2 * np.pi)
        if inside(boxes, x, y):
            continue
        found = boxes.ranges(x, y, directions(np.array([angle])), 4.0)[0]
        walked = np.arange(0, 4, 0.008)
        hits = [d for d in walked if inside(boxes, x + d * np.cos(angle), y + d * np.sin(angle))]
        assert found == pytest.approx(hits[0] if hits else 4.0, abs=0.01)
        checked += 1


def test_clearance_is_the_distance_to_the_nearest_point_of_any_box() -> None:
    rng = np.random.default_rng(1)
    boxes = some_boxes(rng)
    x0, y0, x1, y1 = boxes.bounds.T
    for x, y in rng.uniform(0, 7, (50, 2)):
        near = np.hypot(np.clip(x, x0, x1) - x, np.clip(y, y0, y1) - y).min()
        assert boxes.clearance([x], [y])[0] == pytest.approx(near)
        assert boxes.is_free(x, y, 0.2) == (near >= 0.2)


def test_a_disc_slides_along_a_wall_and_around_a_corner() -> None:
    boxes = Boxes([[1.0, 0.0, 2.0, 1.0]], [1.0])
    assert boxes.push_out(0.9, 0.5, 0.18) == (pytest.approx(0.82), 0.5)
    x, y = boxes.push_out(0.95, 1.05, 0.18) or (0, 0)
    assert x < 0.95 and y > 1.05 and boxes.is_free(x, y, 0.18)
    assert boxes.push_out(0.5, 0.5, 0.18) == (0.5, 0.5)
    assert boxes.push_out(1.5, 0.5, 0.18) is None


def dijkstra(area: NavigableArea, x: float, y: float) -> np.ndarray:  # type: ignore[type-arg]
    """Distances to where (x, y) is in reach, over the same grid, one cell after the other."""
    free, (nx, ny) = area.free, area.free.shape
    best = np.full((nx, ny), np.inf)
    queue = []
    for i in range(nx):
        for j in range(ny):
            away = math.hypot((i + 0.5) * FINE_M - x, (j + 0.5) * FINE_M - y)
            if free[i, j] and away <= layout.REACH_M - 0.05:
                best[i, j] = 0.0
                queue.append((0.0, i, j))
    heapq.heapify(queue)

    def is_free(i: int, j: int) -> bool:
        return 0 <= i < nx and 0 <= j < ny and bool(free[i, j])

    def passed(i: int, j: int) -> list[tuple[int, int]]:
        """Cells beside a step from (0, 0)."""
        s, t = int(np.sign(i)), int(np.sign(j))
        if abs(i) == 2:
            return [(s, 0), (s, t)]
        if abs(j) == 2:
            return [(0, t), (s, t)]
        return [(s, 0), (0, t)]

    steps = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if math.gcd(i, j) == 1]
    while queue:
        so_far, i, j = heapq.heappop(queue)
        if so_far > best[i, j]:
            continue
        for a, b in steps:
            ok = is_free(i + a, j + b) and all(is_free(i + c, j + d) for c, d in passed(a, b))
            far = so_far + FINE_M * math.hypot(a, b)
            if ok and far < best[i + a, j + b] - 1e-12:
                best[i + a, j + b] = far
                heapq.heappush(queue, (far, i + a, j + b))
    return best


@pytest.mark.parametrize("seed", [0, 7, layout.HELD_OUT_START + 3])
def test_distances_to_the_goal_are_dijkstras(seed: int) -> None:
    scene = apartment(scene_name(seed))
    thing = scene.things[0]
    np.testing.assert_allclose(scene.area.to_goal, dijkstra(scene.area, thing.x, thing.y))
    x, y = scene.room_middles[0]
    path = scene.area.shortest_path(x, y)
    length = sum(math.dist(a, b) for a, b in pairwise(path))
    assert length == pytest.approx(scene.area.distance_to_goal(*path[0]))
    assert all(scene.boxes.is_free(*place, ROBOT_RADIUS_M) for place in path)
    assert math.dist(path[-1], (thing.x, thing.y)) <= layout.REACH_M


def test_planned_ways_lead_to_their_end_and_through_no_wall() -> None:
    for seed in range(12):
        scene = apartment(scene_name(seed))
        x, y = scene.routes.nearest_free(*scene.room_middles[-1])
        for _ in range(200):
            place = scene.routes.next_place(scene.routes.to_goal, x, y)
            if place is None:
                break
            assert math.dist((x, y), place) == pytest.approx(0.5)
            assert not inside(scene.boxes, (x + place[0]) / 2, (y + place[1]) / 2)
            x, y = place
        assert math.dist((x, y), (scene.things[0].x, scene.things[0].y)) <= layout.REACH_M


def test_apartments_follow_from_their_names_and_held_out_ones_are_others() -> None:
    for name in ("apartment-0003", "apartment-0200"):
        first = apartment(name)
        apartment.cache_clear()
        second = apartment(name)
        np.testing.assert_array_equal(first.boxes.bounds, second.boxes.bounds)
        assert first.things == second.things
    train = {scene_name(seed) for seed in range(2_000)}
    held_out = {scene_name(layout.HELD_OUT_START + i) for i in range(2_000)}
    assert len(train) == len(held_out) == layout.SCENES and not train & held_out


def test_random_walks_never_enter_anything_and_ranges_turn_with_the_robot() -> None:
    rng = np.random.default_rng(3)
    for seed in range(4):
        scene = apartment(scene_name(seed))
        world = World(scene, *scene.room_middles[0], 0.0)
        for _ in range(150):
            before = world.x, world.y
            action = rng.integers(4)
            world.forward() if action < 2 else world.turn(1 if action == 2 else -1)
            assert scene.boxes.is_free(world.x, world.y, ROBOT_RADIUS_M - 1e-6)
            assert math.dist(before, (world.x, world.y)) <= 1.1 * layout.FORWARD_M
            angles = world.heading + np.arange(layout.RANGES) * 2 * np.pi / layout.RANGES
            rays = directions(angles)
            expected = scene.boxes.ranges(world.x, world.y, rays, layout.MAX_RANGE_M)
            np.testing.assert_allclose(world.ranges(), expected, atol=1e-6)


def one_room() -> Apartment:
    """Four by four meters; a table whose edge is at x = 2.5, the object at (2.6, 2)."""
    walls = [[0, 0, 4, 0.1], [0, 3.9, 4, 4], [0, 0, 0.1, 4], [3.9, 0, 4, 4]]
    boxes = Boxes([*walls, [2.5, 1.5, 3.2, 2.5]], [2.5] * 4 + [0.75])
    things = (Pickable(2.6, 2.0, 0.75, 4),)
    area = NavigableArea(boxes, 4.0, 4.0, ROBOT_RADIUS_M)
    routes = RouteMap(boxes, 4.0, 4.0, ROBOT_RADIUS_M)
    middles = np.array([[0.75, 0.75]])
    assert area.connect(2.6, 2.0) and routes.connect(2.6, 2.0, middles)
    return Apartment("one room", 4.0, 4.0, boxes, 4, things, middles, area, routes)


def test_going_to_the_table_and_picking_by_hand() -> None:
    world = World(one_room(), 1.0, 2.0, 0.0)
    assert world.table_seen
    assert world.flags() == (True, False, False, False, False)
    np.testing.assert_allclose(world.targets()[3], [1, 0, 1, 1.6], atol=1e-9)
    world.reach()
    world.grip()
    assert world.holds == -1, "out of reach"
    for _ in range(4):
        world.forward()
    assert (world.x, world.blocked, world.arm_out) == (2.0, False, False)
    assert world.targets()[0, 0] == 0, "nowhere to go: it is in reach"
    world.forward()
    assert not world.blocked
    world.forward()
    assert world.blocked and world.x == pytest.approx(2.5 - ROBOT_RADIUS_M)
    world.turn(1)
    world.reach()
    world.grip()
    assert world.holds == -1, "it is 30 degrees to the right"
    world.turn(-1)
    world.grip()
    assert world.holds == -1, "turning has drawn the arm in"
    world.reach()
    world.grip()
    assert world.holds == 0 and world.flags()[2]
    picture = draw(world)
    assert picture.shape == (128, 128, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) >= 5


def test_the_table_is_seen_only_in_view_and_not_through_walls() -> None:
    scene = one_room()
    assert not World(scene, 1.0, 2.0, math.pi).table_seen, "behind"
    blocking = np.vstack([scene.boxes.bounds, [1.5, 0.1, 1.6, 3.9]])
    walled = Boxes(blocking, [*scene.boxes.heights, 2.5])
    hidden = Apartment(**{**vars(scene), "boxes": walled})
    assert not World(hidden, 1.0, 2.0, 0.0).table_seen


def test_the_depth_camera_sees_what_marching_along_its_rays_meets() -> None:
    scene = apartment("apartment-0001")
    x, y = scene.room_middles[0]
    image = depth_image(scene.boxes, x, y, 0.3)
    assert image.shape == (layout.DEPTH_ROWS - 1, layout.DEPTH_COLUMNS)
    columns = layout.DEPTH_COLUMNS
    rng = np.random.default_rng(0)
    side = np.arctan(np.tan(np.pi / 4) * (1 - 2 * (np.arange(columns) + 0.5) / columns))
    for _ in range(120):
        i, j = rng.integers(layout.DEPTH_ROWS - 1), rng.integers(columns)
        steps = np.arange(0.0, layout.MAX_DEPTH_M, 0.004)
        px, py = x + steps * np.cos(0.3 + side[j]), y + steps * np.sin(0.3 + side[j])
        pz = CAMERA_HEIGHT_M + _SLOPES[i, j] * steps
        ends = [steps[pz <= 0].min(initial=layout.MAX_DEPTH_M)]  # on the floor, if anywhere
        for (x0, y0, x1, y1), height in zip(scene.boxes.bounds, scene.boxes.heights, strict=True):
            within = (x0 <= px) & (px <= x1) & (y0 <= py) & (py <= y1) & (pz <= height)
            ends.append(steps[within & (pz >= 0)].min(initial=layout.MAX_DEPTH_M))
        assert image[i, j] == pytest.approx(min(ends), abs=0.03)
    assert image[-1].max() < 2.5, "the lowest row looks at the floor"


def test_bytes_say_what_the_sensors_say() -> None:
    world = World(one_room(), 1.0, 1.4, 0.2)
    seen = {"ranges": world.ranges(), "flags": world.flags(), "targets": world.targets()}
    vector = np.zeros((1, *VECTOR_SHAPE), np.uint8)
    encode(seen, vector[0])
    got = vector[0, : layout.RANGES] * (layout.MAX_RANGE_M / 255)
    np.testing.assert_allclose(got, world.ranges(), atol=layout.MAX_RANGE_M / 255)
    for name, told in zip(layout.FLAGS, world.flags(), strict=True):
        assert flag(vector, name)[0] == told
    for name, row in zip(layout.TARGETS, world.targets(), strict=True):
        there, bearing, distance = (column[0] for column in target(vector, name))
        assert there == bool(row[0])
        if there:
            assert bearing == pytest.approx(math.atan2(row[1], row[2]), abs=0.02)
            assert distance == pytest.approx(row[3], abs=layout.MAX_DISTANCE_M / 255)
    image = np.zeros(DEPTH_SHAPE, np.uint8)
    depth = depth_image(world.scene.boxes, world.x, world.y, world.heading)
    encode({**seen, "depth": depth}, image)
    np.testing.assert_array_equal(image[-1, : len(vector[0])], vector[0])
    assert not image[-1, len(vector[0]) :].any()
    np.testing.assert_allclose(image[:-1] * (layout.MAX_DEPTH_M / 255), depth, atol=0.02)


def test_a_camera_student_sees_the_image_and_no_ranges_or_waypoints() -> None:
    world = World(one_room(), 1.0, 1.4, 0.2)
    depth = depth_image(world.scene.boxes, world.x, world.y, world.heading)
    readings = {"ranges": world.ranges(), "flags": world.flags(), "targets": world.targets()}
    room = (1.0, 0.0, 1.0, 2.0)
    image, both = np.zeros(DEPTH_SHAPE, np.uint8), np.full(layout.CAMERA_SHAPE, 9, np.uint8)
    encode({**readings, "depth": depth}, image)
    encode({**readings, "depth": depth, "room": room}, both)
    np.testing.assert_array_equal(both[:-2], image[:-1])
    np.testing.assert_array_equal(both[-1], image[-1], "the skills read the whole state")
    task = habitat_task("HabitatNavPickCamera")
    seen = task.student_observations(both[None])
    assert seen.shape == (1, *task.student_shape)
    state = image[-1, : layout.STATE_BYTES]
    flags, targets = state[layout.FLAGS_AT : layout.TARGETS_AT], state[layout.TARGETS_AT :]
    row = [*flags, *targets[-8:], 255, 128, 255, round(2.0 / layout.MAX_DISTANCE_M * 255)]
    assert seen[0, -1].tolist() == row + [0] * (layout.DEPTH_COLUMNS - len(row))


def test_poses_there_and_back() -> None:
    for heading in np.linspace(-3, 3, 13):
        assert heading_of(rotation_list(heading)) == pytest.approx(heading)
    assert rotation_list(math.pi / 2) == pytest.approx([0, 0, 0, 1]), "habitat's robots look to -z"
    assert place_of(position_of(1.5, 2.5, 0.7)) == (1.5, 2.5)


def test_rewards_are_positive_in_sum_only_with_success() -> None:
    assert nav_pick_reward(False, True, 1, 0.0) == (pytest.approx(0.998), 0.0)
    assert nav_pick_reward(False, True, layout.MAX_STEPS, 0.0)[0] == pytest.approx(0.6)
    assert nav_pick_reward(True, False, 9, 0.0) == (-0.05, 0.05)
    touched = total = 0.0
    for step in range(1, layout.MAX_STEPS + 1):
        reward, touched = nav_pick_reward(True, step == layout.MAX_STEPS, step, touched)
        total += reward
    assert touched == pytest.approx(0.5) and total == pytest.approx(0.1)


@pytest.mark.parametrize("path", sorted(WORKER.rglob("*.py")), ids=lambda path: path.name)
def test_the_worker_runs_on_python_3_9_and_imports_nothing_else_of_the_project(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    ours = "llm4teach.envs.habitat.worker"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("llm4teach"):
            assert str(node.module).startswith(ours)
        assert not isinstance(node, ast.Match)
