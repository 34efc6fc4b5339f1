"""What is asked of a prompt: everything that decides which circuit is made of it."""

from collections.abc import Sequence

import msgspec

from scd_tui.graph import Circuit, Completion, Metric, Settings
from scd_tui.worker.protocol import Wanted


class Choice(msgspec.Struct, frozen=True):
    """What to explain, and how. Without a target it is the likeliest token there.

    Fields mean what those of `worker.protocol.Attribute` do.
    """

    target: Wanted = None
    contrast: Wanted = None
    metric: Metric = "diff"
    position: int | None = None
    continuation: int | None = None
    contrast_prompt: str | None = None
    settings: Settings = Settings()

    def anew(
        self, target: Wanted = None, contrast: Wanted = None, against: str | None = None
    ) -> "Choice":
        """The same way of asking, of another prompt; `against` is its contrast prompt."""
        return Choice(
            *(target, contrast, self.metric), contrast_prompt=against, settings=self.settings
        )

    @property
    def elsewhere(self) -> bool:
        """Whether the target is read anywhere but right after the prompt."""
        return self.position is not None or (self.continuation or 1) > 1


def choice_of(circuit: Circuit) -> Choice:
    """The choice that a circuit answers, its tokens by their ids."""
    target = circuit.target
    said = len(circuit.said)
    contrasts = [step.contrast for step in target.steps if step.contrast is not None]
    return Choice(
        target=_ids([step.target for step in target.steps]),
        contrast=_ids(contrasts) if contrasts and not target.contrast_is_default else None,
        metric=target.metric,
        position=None if said else circuit.read_at,
        continuation=said + 1 if said else None,
        contrast_prompt=circuit.contrast_prompt,
        settings=circuit.settings,
    )


def _ids(completions: Sequence[Completion]) -> Wanted:
    ids = tuple(completion.token.id for completion in completions)
    return ids[0] if len(ids) == 1 else ids
