"""The command `sam2-block`: manages model weights and runs workflows on images.

Heavy packages (the engine, torch) are imported by the command that needs them, when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sam2_block._version import __version__
from sam2_block.cli import models, run
from sam2_block.cli.console import package_warnings_shown, print_message, standard_streams
from sam2_block.errors import Sam2BlockError

OK, FAILED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments after the command's name; by default those of the process.

    Returns:
        Exit status: 0 on success, 1 if something failed and was reported on stderr, 130 after
        Ctrl+C. Invalid arguments end the process with status 2. A reader that stops reading
        (`| head -1`), or a name that its encoding lacks, is no failure.
    """
    with standard_streams(), package_warnings_shown():
        try:
            arguments = make_parser().parse_args(argv)
        except BrokenPipeError:  # the reader of `--help` left; newer Python ignores this
            return OK
        try:
            return OK if arguments.command(arguments) else FAILED
        except Sam2BlockError as error:
            print_message(str(error))
            return FAILED
        except KeyboardInterrupt:
            print_message("interrupted")
            return INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="sam2-block", description="SAM 2 in Roboflow Workflows: model weights and test runs."
    )
    parser.add_argument("--version", action="version", version=f"sam2-block {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    models.add_parser(commands)
    run.add_parser(commands)
    return parser
