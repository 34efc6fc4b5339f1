"""The app's own colours: calm, and legible in 256 colours."""

from textual.theme import Theme

SCD = Theme(
    name="scd",
    primary="#6CA8E8",  # towards the target
    error="#E5786D",  # away from it
    secondary="#9FB8A5",  # explanations
    warning="#D9B36C",  # tokens
    success="#8CBF88",
    accent="#C3A6E0",  # keys
    foreground="#CDD3DB",
    background="#15181D",
    surface="#1C2027",
    panel="#222730",
    dark=True,
)
