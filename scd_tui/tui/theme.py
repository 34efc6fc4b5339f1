"""The app's own colours, on dark and on light: calm, and legible in 256 colours and in 16."""

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
SCD_LIGHT = Theme(
    name="scd-light",
    primary="#1F62B0",
    error="#B3372B",
    secondary="#3F6B4B",
    warning="#8A5A00",
    success="#2F7A37",
    accent="#7440A8",
    foreground="#22262C",
    background="#FAFAF7",
    surface="#F0F0EB",
    panel="#E5E6E0",
    dark=False,
)


def theme_name(wanted: str, light: bool) -> str:
    """The theme to use: for `auto`, ours that fits the terminal's background."""
    if wanted == "auto":
        return SCD_LIGHT.name if light else SCD.name
    return wanted
