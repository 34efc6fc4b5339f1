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
SCD_16 = Theme(
    name="scd-16",  # these are the sixteen themselves, so that none is rounded to a neighbour
    primary="#55FFFF",
    error="#FF5555",
    secondary="#00AA00",
    warning="#FFFF55",
    success="#55FF55",
    accent="#FF55FF",
    foreground="#FFFFFF",
    background="#000000",
    surface="#000000",
    panel="#000000",
    dark=True,
    variables={"text-muted": "#AAAAAA"},
)
THEMES = (SCD, SCD_LIGHT, SCD_16)


def theme_name(wanted: str, light: bool, few: bool) -> str:
    """The theme to use: for `auto`, ours that fits the terminal's background and number of colours."""
    if wanted != "auto":
        return wanted
    return SCD_16.name if few else SCD_LIGHT.name if light else SCD.name
