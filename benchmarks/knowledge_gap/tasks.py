"""The tasks that are screened: a spread of MiniGrid and BabyAI, one size of most."""

_BABYAI = """
PutNextLocal PutNextLocalS5N3 PutNextS4N1 PutNextS5N2 PutNextS6N3 MoveTwoAcrossS5N2
GoToObj GoToLocal GoToRedBall GoToRedBlueBall GoToObjDoor GoToObjMazeS4R2 GoTo
PickupDist PickupLoc UnlockPickupDist UnlockPickup OneRoomS8
OpenDoorColor OpenDoorLoc OpenRedBlueDoors OpenDoorsOrderN2 OpenDoorsOrderN4
GoToSeqS5R2 SynthS5R2
"""
_MINIGRID = """
GoToDoor-8x8 Fetch-8x8-N3 GoToObject-8x8-N2 PutNear-8x8-N3 UnlockPickup DoorKey-8x8
RedBlueDoors-8x8 MemoryS7 KeyCorridorS3R3
"""
_LARGE = """
BabyAI-MiniBossLevel BabyAI-GoToSeq BabyAI-Synth BabyAI-SynthSeq BabyAI-BossLevel
MiniGrid-LockedRoom MiniGrid-KeyCorridorS6R3 MiniGrid-ObstructedMaze-Full
"""
TASKS = (
    *(f"MiniGrid-{name}-v0" for name in _MINIGRID.split()),
    *(f"BabyAI-{name}-v0" for name in _BABYAI.split()),
    *(f"{name}-v0" for name in _LARGE.split()),  # take as long as all others together
)
