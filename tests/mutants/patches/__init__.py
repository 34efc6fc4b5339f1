"""Mistakes that the engine's tests have to notice: each a small change of one source file."""

from patch import Patch

from patches.circuits import CIRCUITS
from patches.dictionaries import DICTIONARIES
from patches.effects import EFFECTS
from patches.gate import GATE
from patches.heads import HEADS
from patches.measured import MEASURED
from patches.methods import METHODS
from patches.questions import QUESTIONS
from patches.room import ROOM
from patches.sinks import SINKS
from patches.soundness import SOUNDNESS
from patches.suspicions import SUSPICIONS
from patches.trials import TRIALS

PATCHES: tuple[Patch, ...] = (
    *DICTIONARIES,
    *EFFECTS,
    *HEADS,
    *QUESTIONS,
    *METHODS,
    *MEASURED,
    *CIRCUITS,
    *GATE,
    *SINKS,
    *ROOM,
    *SOUNDNESS,
    *SUSPICIONS,
    *TRIALS,
)
