"""What each command of `scd-tui` does: `make_parser()` has its arguments, and `run(argv)` returns
the exit code."""

COMMANDS = (
    "attribute",
    "bench",
    "check",
    "config",
    "contexts",
    "diff",
    "doctor",
    "download",
    "explanations",
    "models",
    "open",
    "replicate-post",
    "trust",
    "validate",
    "worker",
)
"""Each a module of this package; a call without one of them is the app."""
