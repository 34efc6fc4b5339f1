"""`scd-tui worker`: the process that owns the device."""

import argparse
from collections.abc import Sequence


def make_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="scd-tui worker",
        description="Serve the app on stdin and stdout. Not for use by hand.",
        allow_abbrev=False,
    )


def run(argv: Sequence[str]) -> int:
    make_parser().parse_args(argv)
    from scd_tui.worker.server import serve

    return serve()
