"""What is known of models, in words: for the table of `scd-tui models` and for the app's picker."""

from collections.abc import Mapping

from scd_tui.catalog.choice import Choice
from scd_tui.catalog.plan import Machine
from scd_tui.graph import SITE_KINDS
from scd_tui.numbers import in_bytes

STATES = {
    "bundled": "here",
    "local": "here",
    "downloaded": "here",
    "partly": "partly",
    "absent": "–",
    "broken": "broken",
}


def sites_in_words(sites: Mapping[str, int]) -> str:
    """`12 × attn_out, mlp_out, resid_post`, each kind with its own number, or that there are none."""
    if not sites:
        return "no dictionaries"
    kinds = [kind for kind in SITE_KINDS if kind in sites]
    if len({sites[kind] for kind in kinds}) == 1:
        return f"{sites[kinds[0]]} × {', '.join(kinds)}"
    return ", ".join(f"{sites[kind]} × {kind}" for kind in kinds)


def size_in_words(choice: Choice) -> str:
    """Of the files: `7.31 GB`, or the most that it can be."""
    if choice.size is None:
        return "?"
    here = choice.state in ("bundled", "local", "downloaded")
    return in_bytes(choice.size) if here else f"≤ {in_bytes(choice.size)}"


def memory_in_words(choice: Choice) -> str:
    return "?" if choice.memory is None else in_bytes(choice.memory)


def machine_in_words(machine: Machine) -> str:
    """What is free on it."""
    gpus = [
        f"{gpu.name} {gpu.label} with {in_bytes(gpu.free)} of {in_bytes(gpu.total)} free"
        for gpu in machine.gpus
    ]
    return f"{in_bytes(machine.ram)} of main memory free, {', '.join(gpus) or 'no GPU'}"


def facts(one: Choice) -> list[tuple[str, str]]:
    """All that is known of a set, by name."""
    if one.state == "broken":
        return [("broken", one.why)]
    found = [("is", one.about)] if one.about else []
    if one.sites:
        found.append(("sites", sites_in_words(one.sites)))
        context = one.training_context
        length = "unknown length" if context is None else f"{context:,} tokens"
        bos = "read behind BOS" if one.prepends_bos else "read without BOS"
        found.append(("trained on", f"texts of {length}, {bos}"))
        found.append(("labels", "on Neuronpedia" if one.labels else "none on Neuronpedia"))
    else:
        found.append(("dictionaries", "none: --dictionaries FOLDER brings some"))
    if one.package:
        found.append(("package", f"{one.package}, fetched with pip"))
    if one.repositories:
        found.append(("from", ", ".join(one.repositories)))
    if one.repositories or one.package:
        gated = ", gated: ask for access on its page, then set HF_TOKEN" if one.gated else ""
        found.append(("model", f"licence {one.model_licence or 'not stated'}{gated}"))
    if one.repositories and one.sites:
        found.append(("dictionaries", f"licence {one.licence or 'not stated'}"))
    found.append(("files", f"{size_in_words(one)}, {STATES[one.state].replace('–', 'not here')}"))
    found.append(("memory", memory_in_words(one)))
    found.append(("runs", f"{one.runs}{': ' if one.why else ''}{one.why}"))
    return found
