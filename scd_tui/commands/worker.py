"""`scd-tui worker`: the process that owns the device."""

import argparse
from collections.abc import Sequence

from scd_tui.commands.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    return Parser(
        prog="scd-tui worker",
        description="Serve the app on stdin and stdout. Not for use by hand.",
    )


def run(argv: Sequence[str]) -> int:
    make_parser().parse_args(argv)
    from scd_tui.worker.server import serve

    return serve()
