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
from scd_tui.numbers import counted
from scd_tui.text import visible


def require_finite_weights(model: LanguageModel, where: str) -> None:
    """Raise RunError, naming the tensor, if a weight of the model is NaN or infinite."""
    weights = {
        name.replace("._original_component", ""): weight.detach()
        for name, weight in model.bridge.original_model.named_parameters()
        if weight.numel() and weight.is_floating_point()
    }
    # least and largest take one pass over the memory and no copy, and a NaN comes out as both
    extremes = [torch.stack(torch.aminmax(weight)) for weight in weights.values()]
    finite = torch.stack([pair.isfinite().all().to(model.device) for pair in extremes]).tolist()
    damaged = [name for name, good in zip(weights, finite, strict=True) if not good]
    if damaged:
        others = len(damaged) - 1
        more = f", and so {'does' if others == 1 else 'do'} {counted(others, 'more tensor')}"
        raise RunError(
            f"the model in {where} is damaged: {visible(damaged[0])} holds NaN or infinity"
            f"{more if others else ''}; fetch its files again"
        )


def require_finite_pass(
    model: LanguageModel, found: Mapping[Place, Tensor], tokens: Sequence[Token], logits: Tensor
) -> None:
    """Raise RunError, naming the first place and position, if a forward pass has NaN or infinity in it.

    `found[place]` `[pos, ...]` in the order of computation; `logits` `[...]` come last.
    """
    if _all_finite([*found.values(), logits]):
        return
    require_finite(found, "activation", tokens)
    raise model.not_finite(tokens)


def require_finite(found: Mapping[Place, Tensor], what: str, tokens: Sequence[Token]) -> None:
    """Raise RunError, naming the first place and position, if a value is NaN or infinite.

    `found[place]` `[pos, ...]` in the order of computation; `what` they are, in words.
    """
    if _all_finite(list(found.values())):
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


def _all_finite(tensors: Sequence[Tensor]) -> bool:
    """One answer read off the device."""
    if not tensors:
        return True
    device = tensors[-1].device
    return bool(torch.stack([tensor.isfinite().all().to(device) for tensor in tensors]).all())


def require_finite_values(values: Tensor, when: str) -> None:
    """Raise RunError if measured logits or metrics are NaN or infinite; `when`, in words."""
    if not bool(values.isfinite().all()):
        raise RunError(f"the model's answer is NaN or infinite {when}: nothing is ranked")
