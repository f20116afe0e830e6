"""What the robot's arm reaches, and what stands in its way."""

import numpy as np

from llm4teach.envs.habitat.worker.kinematic.boxes import Boxes


def test_the_arm_reaches_over_the_table_and_through_no_wall() -> None:
    """A thing on a table at (2, 2), half a meter from the robot; a wall between at x = 2.45."""
    table, wall = (1.8, 1.8, 2.2, 2.2), (2.42, 0.0, 2.48, 4.0)
    open_room = Boxes(np.array([table]), np.array([0.8]))
    walled = Boxes(np.array([table, wall]), np.array([0.8, 2.5]))
    assert open_room.at(2.0, 2.0) == 0 and open_room.at(3.0, 2.0) == -1
    assert open_room.reaches(2.6, 2.0, 2.1, 2.0)
    assert not walled.reaches(2.6, 2.0, 2.1, 2.0)
    assert walled.reaches(1.6, 2.0, 2.1, 2.0), "from the other side nothing is in the way"
