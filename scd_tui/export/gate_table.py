"""The load gate as a Markdown table, which is readable in a terminal as it stands, and as JSON."""

from collections.abc import Sequence
from textwrap import fill

import msgspec

from scd_tui import judge
from scd_tui.export.trust_table import markdown
from scd_tui.graph import ModelIdentity, Record
from scd_tui.judge import Measured, Verdict
from scd_tui.numbers import MINUS
from scd_tui.text import visible

WIDTH = 98
HEADINGS = (
    *("site", "L0", "EV", "plain", "random", "share", "random"),
    *("ΔCE", "CE rec.", "verdict"),
)
BARS = {
    "least_share_of_k": judge.LEAST_OF_K,
    "largest_density": judge.LARGEST_DENSITY,
    "explained_variance": judge.LEAST_EXPLAINED,
    "delta_ce": judge.LARGEST_RISE,
    "room_l0": judge.ROOM_L0,
    "room_explained_variance": judge.ROOM_EXPLAINED,
    "room_ce_recovered": judge.ROOM_RECOVERED,
    "least_weaker_half": judge.LEAST_WEAKER,
    "most_weaker_half": judge.MOST_WEAKER,
    "constant_of_error": judge.LARGEST_CONSTANT_OF_ERROR,
    "constant_of_variance": judge.LARGEST_CONSTANT_OF_VARIANCE,
    "renormalised_error": judge.LEAST_RENORMALISED,
    "renormalised_standard_errors": judge.STANDARD_ERRORS,
    "largest_shrinkage": judge.LARGEST_SHRINKAGE,
    "unexplained_elsewhere": judge.LEAST_ELSEWHERE,
}


class Report(Record, frozen=True, kw_only=True):
    """What was measured of a model's dictionaries, on which text; verdicts in the order of `measured`.

    `window` is the length that the text was read in; `prompts` those that the model could be asked.
    """

    model: ModelIdentity
    text: str
    window: int
    prompts: int
    measured: tuple[Measured, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


def number(value: float | None, digits: int = 3) -> str:
    """`0.952`, `−9.018`, `−45.31`: as many digits as five characters hold; `n/a` for None."""
    if value is None:
        return "n/a"
    for places in range(digits, -1, -1):
        text = f"{value:.{places}f}"
        if len(text.lstrip("-")) <= 5:
            break
    return text.replace("-", MINUS)


def gate_row(found: Measured, verdict: Verdict) -> tuple[str, ...]:
    """One row under `HEADINGS`."""
    plain, chance = found.plain, found.chance
    return (
        str(found.site),
        number(found.l0_mean, 1),
        number(found.explained_variance),
        number(None if plain is None else plain.explained_variance),
        number(chance.explained_variance),
        number(found.share_explained),
        number(chance.share_explained),
        number(found.delta_ce),
        number(found.ce_recovered),
        "passed" if verdict.passed else "FAILED",
    )


def _legend(report: Report) -> Sequence[str]:
    prompts = f"{report.prompts} prompt{'s' * (report.prompts != 1)}"
    return (
        "L0: features active at a token. EV: explained variance; plain: that of the same weights as plain "
        "ReLU on raw activations (n/a: they are no more than that); random: that of as many random "
        f"directions. share: of the node effects of {prompts}, what the features explain; random: the "
        "same for random directions. ΔCE: nats a token that the reconstruction costs in the activation's "
        "place. CE rec.: the share that it saves of what zeros there would cost (n/a: under "
        f"{judge.RECOVERED_WHERE} nats).",
        f"Bars: L0 from {judge.LEAST_OF_K:.0%} of k to k, without a k under {judge.LARGEST_DENSITY:.0%} of "
        f"the features; EV at least {judge.LEAST_EXPLAINED}, and above plain and random; ΔCE at most "
        f"{judge.LARGEST_RISE}. Where values are published: L0 within {judge.ROOM_L0:.0%} of them, EV at "
        f"most {judge.ROOM_EXPLAINED} below. A dictionary also fails where another selection, b_dec, "
        "normalisation or neighbouring site explains clearly more.",
    )


def render(report: Report) -> str:
    """The table, what its columns mean, what failed and why, and the verdict on the last line."""
    model, count = report.model, len(report.verdicts)
    tokens = report.measured[0].tokens
    lines = [
        f"{visible(model.name)} · {visible(model.dictionaries)} · {model.device} · {tokens:,} tokens of "
        f"{visible(report.text)}, {report.window} at a time\n",
        markdown(
            [HEADINGS, *map(gate_row, report.measured, report.verdicts)],
        ),
        *(fill(text, WIDTH) + "\n" for text in _legend(report)),
    ]
    failed = [verdict for verdict in report.verdicts if not verdict.passed]
    for verdict in failed:
        for reason in verdict.reasons:
            lines.append(fill(f"{verdict.site}: {reason}.", WIDTH, subsequent_indent="    "))
    if failed:
        lines[-1] += "\n"
        lines.append(f"FAILED: {len(failed)} of {count} dictionaries are not as they should be.")
    else:
        lines.append(f"Passed: {count} of {count} dictionaries.")
    return "\n".join(lines) + "\n"


def encode(report: Report) -> bytes:
    """The report as indented JSON, with what follows from its numbers, ending in a newline."""
    sites = [
        {
            **msgspec.to_builtins(found),
            "delta_ce": found.delta_ce,
            "ce_recovered": found.ce_recovered,
            "plain_delta_ce": found.plain_delta_ce,
            "passed": verdict.passed,
            "reasons": verdict.reasons,
        }
        for found, verdict in zip(report.measured, report.verdicts, strict=True)
    ]
    whole = {
        "model": report.model,
        "text": report.text,
        "window": report.window,
        "prompts": report.prompts,
        "bars": BARS,
        "passed": report.passed,
        "sites": sites,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"
