"""The tasks that are screened: a spread of MiniGrid and BabyAI, one size of most."""

_BABYAI = """
PutNextLocal PutNextLocalS5N3 PutNextS4N1 PutNextS5N2 PutNextS6N3 MoveTwoAcrossS5N2
GoToObj GoToLocal GoToRedBall GoToRedBlueBall GoToObjDoor GoToObjMazeS4R2 GoTo GoToImpUnlock
GoToSeqS5R2 GoToSeq
PickupLoc PickupDist Pickup PickupAbove UnblockPickup FindObjS5 ActionObjDoor OneRoomS8
OpenDoorColor OpenDoorLoc OpenDoorsOrderN2 OpenDoorsOrderN4 OpenTwoDoors OpenRedBlueDoors Open
KeyInBox Unlock UnlockLocalDist UnlockPickup UnlockPickupDist UnlockToUnlock
SynthS5R2 Synth SynthLoc SynthSeq MiniBossLevel BossLevel
"""
_MINIGRID = """
GoToDoor-8x8 Fetch-8x8-N3 GoToObject-8x8-N2 PutNear-8x8-N3 LockedRoom KeyCorridorS3R3
KeyCorridorS6R3 ObstructedMaze-2Dlh ObstructedMaze-Full UnlockPickup BlockedUnlockPickup
DoorKey-8x8 MultiRoom-N4-S5 RedBlueDoors-8x8 MemoryS7 LavaCrossingS9N2
"""
TASKS = (
    *(f"BabyAI-{name}-v0" for name in _BABYAI.split()),
    *(f"MiniGrid-{name}-v0" for name in _MINIGRID.split()),
)
