"""The gate as a table for people, and the notice that ships with the texts."""

from __future__ import annotations

from typing import Any

NOTICE = """\
The token stream in features/ and the model in model/ contain and were trained on texts from
Python's documentation (pydoc_data.topics) and docstrings of its standard library:

    Copyright (c) 2001-2023 Python Software Foundation. All Rights Reserved.
    Copyright (c) 2000 BeOpen.com. All Rights Reserved.
    Copyright (c) 1995-2001 Corporation for National Research Initiatives. All Rights Reserved.
    Copyright (c) 1991-1995 Stichting Mathematisch Centrum, Amsterdam. All Rights Reserved.

They are distributed under the PSF License Agreement (PSF-2.0), https://docs.python.org/3/license.html.
Changes made: the texts were cut into tokens and into windows of 64 tokens, mixed with template
sentences and random token sequences written for this project. The Python Software Foundation
makes the texts available "as is", without any warranty, and does not endorse this project.

PSF LICENSE AGREEMENT FOR PYTHON (version 2)

1. This LICENSE AGREEMENT is between the Python Software Foundation ("PSF"), and the Individual or
   Organization ("Licensee") accessing and otherwise using this software ("Python") in source or
   binary form and its associated documentation.
2. Subject to the terms and conditions of this License Agreement, PSF hereby grants Licensee a
   nonexclusive, royalty-free, world-wide license to reproduce, analyze, test, perform and/or
   display publicly, prepare derivative works, distribute, and otherwise use Python alone or in
   any derivative version, provided, however, that PSF's License Agreement and PSF's notice of
   copyright, i.e., "Copyright (c) 2001-2023 Python Software Foundation; All Rights Reserved" are
   retained in Python alone or in any derivative version prepared by Licensee.
3. In the event Licensee prepares a derivative work that is based on or incorporates Python or any
   part thereof, and wants to make the derivative work available to others as provided herein,
   then Licensee hereby agrees to include in any such work a brief summary of the changes made to
   Python.
4. PSF is making Python available to Licensee on an "AS IS" basis. PSF MAKES NO REPRESENTATIONS OR
   WARRANTIES, EXPRESS OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PSF MAKES NO AND
   DISCLAIMS ANY REPRESENTATION OR WARRANTY OF MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR
   PURPOSE OR THAT THE USE OF PYTHON WILL NOT INFRINGE ANY THIRD PARTY RIGHTS.
5. PSF SHALL NOT BE LIABLE TO LICENSEE OR ANY OTHER USERS OF PYTHON FOR ANY INCIDENTAL, SPECIAL, OR
   CONSEQUENTIAL DAMAGES OR LOSS AS A RESULT OF MODIFYING, DISTRIBUTING, OR OTHERWISE USING PYTHON,
   OR ANY DERIVATIVE THEREOF, EVEN IF ADVISED OF THE POSSIBILITY THEREOF.
6. This License Agreement will automatically terminate upon a material breach of its terms and
   conditions.
7. Nothing in this License Agreement shall be deemed to create any relationship of agency,
   partnership, or joint venture between PSF and Licensee. This License Agreement does not grant
   permission to use PSF trademarks or trade name in a trademark sense to endorse or promote
   products or services of Licensee, or any third party.
8. By copying, installing or otherwise using Python, Licensee agrees to be bound by the terms and
   conditions of this License Agreement.
"""


def as_markdown(gate: dict[str, Any]) -> str:
    """The gate table from the plain data of `gate.json`."""
    made = gate["made_with"]
    tokens = ", ".join(f"{count:,} of {kind}" for kind, count in gate["tokens"].items())
    packages = ", ".join(f"{name} {number}" for name, number in made["packages"].items())
    bars = gate["bars"]
    lines = [
        "# Gate of the bundled model",
        "",
        "Measured on the files beside this one (float16 on disk, loaded as float32 through",
        "TransformerBridge and sae_lens), on texts that training did not see, apart from the",
        "memorised prompts.",
        "",
        f"- Tokens: {tokens}.",
        f"- Made with Python {made['python']}, {packages}.",
        "",
        "## What the model does",
        "",
        "| | measured | bar | cases | |",
        "|---|---|---|---|---|",
    ]
    for b in gate["behaviours"]:
        name = b["name"].replace("|", " → ")
        bar = "reported" if b["bar"] is None else f"≥ {b['bar']}"
        lines.append(f"| {name} | {b['value']:.3f} | {bar} | {b['cases']} | {b['note']} |")
    explained = ", ".join(f"{v} on {k}" for k, v in bars["explained_variance"].items())
    lines += [
        "",
        "## What the dictionaries keep",
        "",
        f"Bars: L0 at most k and {bars['l0_share']} k on average; dead at most {bars['dead']:.0%}; "
        f"explained variance at least {explained};",
        f"ΔCE spliced in at most {bars['loss_rise']} nats; CE recovered at least "
        f"{bars['recovered']} wherever zero ablation costs at least {bars['recovered_where']} nats",
        "(– where it costs less). On repeated random sequences L0 has a bar, the rest is reported.",
        "",
        "| dictionary | dead | text | L0 mean | max | explained variance | ΔCE | CE recovered "
        "| zero ablation costs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for d in gate["dictionaries"]:
        for s in d["splices"]:
            recovered = "–" if s["recovered"] is None else f"{s['recovered']:.3f}"
            lines.append(
                f"| {d['id']} | {d['dead']:.1%} | {s['kind']} | {s['l0_mean']:.2f} "
                f"| {s['l0_max']} | {s['explained_variance']:.3f} | {s['loss_rise']:+.3f} "
                f"| {recovered} | {s['loss_zeroed'] - s['loss']:.2f} |"
            )
    lines += ["", "## Bars missed", ""]
    lines += [f"- {line}" for line in gate["shortfalls"]] or ["None."]
    return "\n".join(lines) + "\n"
