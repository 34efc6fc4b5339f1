"""`scd-tui [PROMPT]`: the app."""

import argparse
import os
import sys
from collections.abc import Sequence

from scd_tui import __version__
from scd_tui.commands import COMMANDS
from scd_tui.commands.options import (
    add_model_options,
    add_offline,
    add_prompt,
    model_reference,
    parse_prompt,
    prompt_text,
)
from scd_tui.commands.parser import Parser
from scd_tui.errors import InputError

SHELLS = ("bash", "zsh")
"""That a completion script can be printed for."""

_EPILOG = """\
commands:
  scd-tui [PROMPT]            open the app, on the bundled model unless --model says otherwise
  scd-tui attribute PROMPT    print the circuit behind a completion, without the app
  scd-tui open FILE           walk a saved circuit; no model is needed
  scd-tui models [MODEL]      list the models: downloaded or not, size, how they would run here
  scd-tui download MODEL      fetch a model and its dictionaries from the Hub, and check them
  scd-tui explanations MODEL  fetch all explanations of its features, for use without a network
  scd-tui contexts MODEL      find where its features fire in a text of your own
  scd-tui check [MODEL]       measure whether its dictionaries are loaded as they were trained
  scd-tui trust [SET.toml ..] measure how far the scores can be believed, by prompt set and metric
  scd-tui validate FILE       measure whether the nodes of a saved circuit do it alone
  scd-tui bench               measure speed and memory, beside the published procedure
  scd-tui replicate-post      make the tables of the post that this began with anew
  scd-tui diff A B            compare two saved circuits by value
  scd-tui doctor              look at terminal, folders, device and worker, and say what to mend
  scd-tui config              print where the configuration file is, and what is in force
  scd-tui worker              the process that owns the device; the app starts it

A prompt that is a command's name goes behind two dashes: scd-tui -- open
"""


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="scd-tui",
        usage="scd-tui [PROMPT] [options]\n       scd-tui COMMAND ...",
        description="See which sparse-autoencoder features made a model say that, and check it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_prompt(parser)
    add_model_options(parser, remembered=True)
    add_offline(parser)
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        help="print a script that completes commands and options in that shell",
    )
    parser.add_argument("--version", action="version", version=f"scd-tui {__version__}")
    return parser


def run(argv: Sequence[str]) -> int:
    arguments = parse_prompt(make_parser(), argv, COMMANDS)
    if arguments.print_completion is not None:
        from scd_tui.commands.completion import completion_script
        from scd_tui.streams import put_script

        put_script(completion_script(arguments.print_completion, make_parser()))
        return 0
    from scd_tui.tui.terminal import refuse_reason

    model = model_reference(arguments)
    if model:
        from scd_tui.catalog.models import absolute, find

        find(model)
        # A past circuit is made again from wherever the app is started then.
        model = absolute(model)
    if reason := refuse_reason(os.environ, sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(reason)
    from scd_tui.tui.run import run_app

    return run_app(
        prompt_text(arguments),
        model=model or None,
        device=arguments.device,
        offline=arguments.offline,
    )
