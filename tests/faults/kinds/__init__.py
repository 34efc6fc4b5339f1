"""The kinds of faults: modules whose `KINDS` are tried by the campaign."""

from importlib import import_module
from pkgutil import iter_modules

from trial import Kind


def all_kinds() -> tuple[Kind, ...]:
    """Every kind, by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    return tuple(kind for name in names for kind in import_module(f"{__name__}.{name}").KINDS)
