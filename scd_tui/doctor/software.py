"""Python and the packages that this program says it needs."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from scd_tui.doctor.findings import Fact, Finding

NAMED = ("torch", "transformer_lens", "sae_lens", "transformers", "textual", "huggingface_hub")
"""Those whose versions change what is seen; the others are only said where they do not fit."""


def software(wanted: list[str] | None = None) -> list[Finding]:
    """What is installed against what is required; `wanted` is this program's own list if not given."""
    found = [
        Finding(
            name="python",
            says=f"{platform.python_version()} on {platform.system()} {platform.release()}, "
            f"{platform.machine()}",
            facts={"python": platform.python_version(), "executable": sys.executable},
        )
    ]
    if wanted is None:
        try:
            wanted = requires("scd-tui") or []
        except PackageNotFoundError:
            said = "this program runs without having been installed: what it needs is not known"
            return [*found, Finding(name="packages", state="warn", says=said, todo="pip install .")]
    versions: dict[str, Fact] = {}
    misfits: list[Finding] = []
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name.replace("-", "_")
        needed = f"{requirement.name}{requirement.specifier}"
        cure = f"pip install '{needed}'"
        try:
            versions[name] = here = version(name)
        except PackageNotFoundError:
            versions[name] = None
            said = f"is not installed, and {needed} is needed"
            misfits.append(Finding(name=name, state="problem", says=said, todo=cure))
            continue
        if not requirement.specifier.contains(here, prereleases=True):
            said = f"{here}, and {needed} is needed"
            misfits.append(Finding(name=name, state="warn", says=said, todo=cure))
    named = ", ".join(f"{name} {versions[name]}" for name in NAMED if versions.get(name))
    fit = sum(one is not None for one in versions.values()) - sum(
        m.state == "warn" for m in misfits
    )
    says = f"{named}{'; ' if named else ''}{fit} of {len(versions)} are as required"
    return [*found, Finding(name="packages", says=says, facts=versions), *misfits]
