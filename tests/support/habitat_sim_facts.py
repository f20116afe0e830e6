"""Run in an interpreter with habitat-sim: compares the two simulators, and prints facts as JSON."""

from __future__ import annotations

import json
import math
import os
import runpy
from pathlib import Path
from typing import Any

import numpy as np

for _variable in ("MAGNUM_LOG", "HABITAT_SIM_LOG"):  # they would print among the facts
    os.environ[_variable] = "quiet"
WORKER = Path(__file__).resolve().parents[2] / "envs" / "habitat" / "worker"
runpy.run_path(str(WORKER / "__main__.py"), run_name="worker")["stand_in"]()

APARTMENTS = ("apartment-0000", "apartment-0001", "apartment-0002", "apartment-0128")
ACTIONS, PLACES = 400, 3_000


def main() -> None:
    from llm4teach.envs.habitat.worker import simulators

    env: Any = simulators.make_env({"simulator": "apartments", "depth": True})
    sim = env.env.sim.backend
    facts: dict[str, Any] = {"apartments": {name: compare(sim, name) for name in APARTMENTS}}
    facts["object"] = pick_and_carry(sim)
    facts["walls"] = try_through_walls(sim)
    facts["classes"] = [type(env.env).__module__, type(env.env.sim).__name__]
    facts["episodes"] = episodes(env)
    print(json.dumps(facts))


def compare(sim: Any, name: str) -> dict[str, float]:
    """How far the simulators agree about one apartment."""
    from llm4teach.envs.habitat.worker.kinematic.apartment import ROBOT_RADIUS_M, apartment
    from llm4teach.envs.habitat.worker.kinematic.rendering import depth_image
    from llm4teach.envs.habitat.worker.kinematic.world import World
    from llm4teach.envs.habitat.worker.sim.world import SimWorld

    scene, rng = apartment(name), np.random.default_rng(0)
    sim.enter(name)
    facts: dict[str, float] = {}
    places = rng.uniform(0, 1, (PLACES, 2)) * (scene.width, scene.depth)
    kinematic = [scene.area.is_navigable(*place) for place in places]
    same = np.equal(kinematic, [sim.is_navigable(*place) for place in places])
    clearance = scene.boxes.clearance(*places.T)
    facts["same_free"] = float(same.mean())
    # Recast keeps a few centimeters more from what it cannot pass.
    facts["same_free_off_edges"] = float(same[np.abs(clearance - ROBOT_RADIUS_M) > 0.06].mean())

    starts = scene.area.starts(1.0)
    chosen = starts[rng.integers(len(starts), size=40)].tolist()
    ranges, depth, moved, ways = [], [], [], []
    for x, y in chosen:
        real = SimWorld(sim, scene, x, y, rng.uniform(-3, 3))
        same_place = World(scene, real.x, real.y, real.heading)
        moved.append(math.hypot(real.x - x, real.y - y))
        ranges.append(np.abs(real.ranges() - same_place.ranges()))
        depth.append(np.abs(real.depth() - depth_image(scene.boxes, *sim.pose())))
        ways.append(same_place.distance_to_goal() / real.distance_to_goal())
    facts["ranges_within_1_mm"] = float((np.array(ranges) < 1e-3).mean())
    facts["ranges_mm"] = 1e3 * float(np.quantile(ranges, 0.99))
    facts["start_mm"] = 1e3 * max(moved)
    facts["depth_median_m"] = float(np.median(depth))
    facts["depth_within_15_cm"] = float((np.array(depth) < 0.15).mean())
    facts["way_ratio_least"], facts["way_ratio_most"] = min(ways), max(ways)

    x, y = chosen[0]
    worlds = SimWorld(sim, scene, x, y, 0.0), World(scene, x, y, 0.0)
    collisions = [0, 0]
    for action in rng.choice(3, ACTIONS, p=[0.6, 0.2, 0.2]):
        for n, world in enumerate(worlds):
            if action == 0:
                world.forward()
            else:
                world.turn(1 if action == 1 else -1)
            collisions[n] += world.blocked
    facts["collisions"], facts["kinematic_collisions"] = collisions
    facts["headings_apart"] = abs(worlds[0].heading - worlds[1].heading)
    return facts


def facing(sim: Any, scene: Any, thing: Any, x: float, y: float) -> Any:
    """A world whose robot stands at a place and faces a thing."""
    from llm4teach.envs.habitat.worker.sim.world import SimWorld

    return SimWorld(sim, scene, x, y, math.atan2(thing.y - y, thing.x - x))


def pick_and_carry(sim: Any) -> dict[str, Any]:
    """Pick the object, walk with it, and put it back."""
    from llm4teach.envs.habitat.worker.kinematic.apartment import apartment

    scene = apartment(APARTMENTS[0])
    sim.enter(APARTMENTS[0])
    goal = scene.things[0]
    world = facing(sim, scene, goal, *scene.area.goals()[0])
    facts: dict[str, Any] = {"lying": world.target_position(), "goal": [goal.x, goal.y, goal.z]}
    world.reach()
    world.grip()
    facts["holds"] = world.holds
    offsets = []
    for action in "llfflffrff":
        if action == "f":
            world.forward()
        else:
            world.turn(1 if action == "l" else -1)
        x, y, height = world.target_position()
        away = math.hypot(x - world.x, y - world.y)
        offsets.append([away, world.bearing(x, y), height])
    facts["offsets"], facts["walked"] = offsets, [world.x, world.y]
    world.reach()
    world.grip()
    facts["after"] = [world.holds, *world.target_position()]
    return facts


def try_through_walls(sim: Any) -> dict[str, int]:
    """Grip where something is near enough: in some places a box is between, in others not."""
    from llm4teach.envs.habitat.worker.kinematic.apartment import (
        ROBOT_RADIUS_M,
        apartment,
        scene_name,
    )
    from llm4teach.envs.habitat.worker.layout import SCENES

    facts = {"open": 0, "taken": 0, "behind_boxes": 0, "taken_through_boxes": 0}
    angles = np.arange(16) * math.pi / 8
    for number in range(SCENES):
        scene = apartment(scene_name(number))
        for n, thing in enumerate(scene.things):
            for angle in angles.tolist():
                x, y = thing.x + 0.6 * math.cos(angle), thing.y + 0.6 * math.sin(angle)
                inside = 0 < x < scene.width and 0 < y < scene.depth
                if not inside or not scene.boxes.is_free(x, y, ROBOT_RADIUS_M + 0.05):
                    continue
                is_open = scene.boxes.reaches(x, y, thing.x, thing.y)
                if is_open and number >= 10:
                    continue
                sim.enter(scene.name)
                world = facing(sim, scene, thing, x, y)
                world.reach()
                world.grip()
                facts["open" if is_open else "behind_boxes"] += 1
                facts["taken" if is_open else "taken_through_boxes"] += world.holds == n
    return facts


def episodes(env: Any) -> dict[str, Any]:
    """Play one seed first, after other apartments, and again at once."""
    actions = np.random.default_rng(0).choice(5, 120, p=[0.6, 0.15, 0.15, 0.05, 0.05])
    out = np.zeros(env.observation_shape, np.uint8)

    def play(seed: int) -> tuple[bytes, list[float]]:
        env.reset(seed, out)
        seen = out.tobytes()
        for action in actions:
            _, ended, cut = env.step(int(action), out)
            seen += out.tobytes()
            if ended or cut:
                break
        return seen, env.measures()

    first = play(5)
    play((1 << 30) + 9)
    play(133)  # another episode in the same apartment
    again = play(5)
    at_once = play(5)
    return {"same": [first == again, first == at_once], "other": first == play(6)}


if __name__ == "__main__":
    main()
