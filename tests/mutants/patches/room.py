"""Mistakes in what passes take, and in which token a text names."""

from patch import Patch

ROOM: tuple[Patch, ...] = (
    Patch(
        "patterns grow with the prompt and not with its square",
        "catalog.passes",
        "attribution.room",
        "return (self.heads + 1) * tokens * tokens",
        "return (self.heads + 1) * tokens",
    ),
    Patch(
        "an attention keeps its patterns",
        "attribution.model",
        "attribution.room",
        "attention._pattern = None",
        "pass",
    ),
    Patch(
        "of a product in parts the first alone is taken",
        "attribution.cut",
        "attribution.room",
        "return {place: torch.cat([part[place] for part in parts]) for place in parts[0]}",
        "return {place: torch.cat([parts[0][place] for part in parts]) for place in parts[0]}",
    ),
    Patch(
        "a limit on address space is not looked at",
        "attribution.room",
        "attribution.room",
        "return ram if space is None else min(ram, space)",
        "return ram",
    ),
    Patch(
        "a text is split as at the beginning of a prompt",
        "attribution.tokens",
        "attribution.tokens",
        "        if _joined(plain) == text:",
        "        if plain:",
    ),
    Patch(
        "a BOS that is typed has another before it",
        "attribution.model",
        "attribution.tokens",
        "if self._first is not None and not self.begins_with_bos(tokens):",
        "if self._first is not None:",
    ),
)
