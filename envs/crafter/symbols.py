"""Craftax-Classic's vocabularies, the options, and the bytes of a recorded observation.

An observation is the student's 63 x 63 x 3 pixels, then the teacher's view: the map of all that was
seen, the creatures in sight, what the player has and feels, and what it did lately.
"""

from __future__ import annotations

ROWS, COLUMNS = 64, 64  # of the world
SEEN_ROWS, SEEN_COLUMNS = 7, 9  # of the local view; the player is in its middle
PIXEL_SHAPE = (63, 63, 3)
PIXELS = 63 * 63 * 3

UNKNOWN, OUTSIDE, GRASS, WATER, STONE, TREE, WOOD, PATH, COAL = range(9)
IRON, DIAMOND, TABLE, FURNACE, SAND, LAVA, PLANT, RIPE_PLANT = range(9, 17)
ZOMBIE, COW, SKELETON, ARROW = range(1, 5)

ACTIONS = (
    *("noop", "left", "right", "up", "down", "do", "sleep"),
    *("place stone", "place table", "place furnace", "place plant"),
    *("make wood pickaxe", "make stone pickaxe", "make iron pickaxe"),
    *("make wood sword", "make stone sword", "make iron sword"),
)
NOOP, DO, SLEEP = 0, 5, 6  # and 1 to 4, the directions left, right, up and down
PLACE_STONE, PLACE_TABLE, PLACE_FURNACE, PLACE_PLANT = 7, 8, 9, 10
MAKE = 11  # the first of six
ROW_STEP, COLUMN_STEP = (0, 0, 0, -1, 1), (0, -1, 1, 0, 0)  # of the directions

ITEMS = (
    *("wood", "stone", "coal", "iron", "diamond", "sapling"),
    *("wood pickaxe", "stone pickaxe", "iron pickaxe"),
    *("wood sword", "stone sword", "iron sword"),
)
MATERIALS = 6  # items before the tools
MOST = (5, 3, 2, 2, 1, 1)  # counts of materials from which on more is not told apart
ACHIEVEMENTS = (
    *("collect wood", "place table", "eat cow", "collect sapling", "collect drink"),
    *("make wood pickaxe", "make wood sword", "place plant", "defeat zombie", "collect stone"),
    *("place stone", "eat plant", "defeat skeleton", "make stone pickaxe", "make stone sword"),
    *("wake up", "place furnace", "collect coal", "collect iron", "collect diamond"),
    *("make iron pickaxe", "make iron sword"),
)

COLLECT_WOOD, COLLECT_STONE, COLLECT_COAL, COLLECT_IRON, COLLECT_DIAMOND = range(5)
COLLECT_SAPLING, DRINK, EAT_COW, EAT_PLANT, SLEEP_OPTION = range(5, 10)
OPTION_PLACE, OPTION_MAKE = 10, 14  # the first of four, and of six, in the order of the actions
FIGHT_ZOMBIE, FIGHT_SKELETON, EXPLORE = 20, 21, 22
OPTIONS = (
    *("collect wood", "collect stone", "collect coal", "collect iron", "collect diamond"),
    *("collect sapling", "drink water", "eat cow", "eat plant", "sleep"),
    *ACTIONS[PLACE_STONE:],
    *("fight zombie", "fight skeleton", "explore"),
)
# An option gives up after so many decisive actions that changed nothing, and after so many steps
# in which nothing new was seen or got; exploring never does.
TRIES = (2, 2, 2, 2, 2, 40, 2, 255, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 255, 255, 255)
PATIENCE = (*([120] * 7), 60, *([120] * 12), 40, 40, 256)

# Places in the teacher's view.
MAP = 0  # kind of each cell as it was last seen, row by row; 0 where it never was
MOBS = MAP + ROWS * COLUMNS  # creatures in the local view, row by row
STATUS = MOBS + SEEN_ROWS * SEEN_COLUMNS
ROW, COLUMN, FACING = STATUS, STATUS + 1, STATUS + 2
HEALTH, FOOD, DRINK_LEVEL, ENERGY = range(STATUS + 3, STATUS + 7)  # 0 to 9
ASLEEP, LIGHT = STATUS + 7, STATUS + 8  # light in percent
HELD = STATUS + 9  # number of each item
DONE = HELD + len(ITEMS)  # whether each achievement is unlocked
MEMORY = DONE + len(ACHIEVEMENTS)
IDLE = MEMORY  # steps since something new was seen or got, at most 255
HEADING_ROW, HEADING_COLUMN = MEMORY + 1, MEMORY + 2  # where it went lately, 128 for nowhere
VAIN = MEMORY + 3  # decisive actions of each option that changed nothing, at most 255
PLANT_ROW, PLANT_COLUMN = VAIN + len(OPTIONS), VAIN + len(OPTIONS) + 1  # own plant; 255: none
PLANT_AGE = PLANT_COLUMN + 1  # its steps in two bytes, the high one first
VIEW = PLANT_AGE + 2  # bytes of the view
RECORD = PIXELS + VIEW
SYMBOLS = 2 * SEEN_ROWS * SEEN_COLUMNS + MEMORY - STATUS  # blocks, creatures and status of a moment
MOBS_SHOWN = 3 + 3 + 2 + 3  # most zombies, cows, skeletons and arrows of a world
GLIMPSE = SEEN_ROWS * SEEN_COLUMNS + 2 * MOBS_SHOWN + MEMORY - STATUS  # the engine's form of them
NO_PLANT, NOWHERE = 255, 128
