"""Numbers that are none: found before anything is ranked, and named by where they are.

One NaN in a weight makes a NaN of every effect, which then sorts before all others. So weights are looked
through once at load, and a prompt's activations, logits and gradients each time, with one answer read
off the device.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from scd_tui.attribution.model import LanguageModel, Place
from scd_tui.errors import RunError
from scd_tui.graph import Token
from scd_tui.text import visible


def require_finite_weights(model: LanguageModel, where: str) -> None:
    """Raise RunError, naming the tensor, if a weight of the model is NaN or infinite."""
    for name, weight in model.bridge.original_model.named_parameters():
        if weight.numel() and weight.is_floating_point():
            least, most = torch.aminmax(weight.detach())
            if not (torch.isfinite(least) & torch.isfinite(most)):
                name = name.replace("._original_component", "")
                raise RunError(
                    f"the model in {where} is damaged: {visible(name)} holds NaN or infinity; "
                    "fetch its files again"
                )


def require_finite(
    found: Mapping[Place, Tensor], what: str, tokens: Sequence[Token], logits: Tensor | None = None
) -> None:
    """Raise RunError, naming the first place and position, if a value is NaN or infinite.

    `found[place]` `[pos, ...]` in the order of computation; `what` they are, in words. `logits` `[...]`
    come last.
    """
    tensors = [*found.values(), *([] if logits is None else [logits])]
    if not tensors:
        return
    device = tensors[-1].device
    whole = torch.stack([tensor.isfinite().all().to(device) for tensor in tensors])
    if bool(whole.all()):
        return
    for place, tensor in found.items():
        good = tensor.isfinite().flatten(start_dim=1).all(dim=1)
        if not good.all():
            position = int((~good).nonzero()[0])
            where = f"the {place} embedding" if isinstance(place, str) else str(place)
            text = visible(tokens[position].text)
            raise RunError(
                f"the {what} at {where}, position {position} {text!r}, is NaN or infinite: "
                "nothing is ranked; check the model's files and its dictionaries"
            )
    raise RunError("the logits are NaN or infinite: nothing is ranked; check the model's files")


def require_finite_values(values: Tensor, when: str) -> None:
    """Raise RunError if measured logits or metrics are NaN or infinite; `when`, in words."""
    if not bool(values.isfinite().all()):
        raise RunError(f"the model's answer is NaN or infinite {when}: nothing is ranked")
