"""The command `sam2-block`: a parser, and one module per subcommand.

Heavy packages (the engine, torch) are imported by the command that needs them, when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sam2_block._version import __version__
from sam2_block.cli import check, demo, doctor, examples, models, run, segment
from sam2_block.cli.console import package_warnings_shown, print_message, standard_streams
from sam2_block.errors import Sam2BlockError

OK, FAILED, INTERRUPTED = 0, 1, 130

_EXAMPLES = """examples:
  sam2-block demo
  sam2-block segment photo.jpg --box 100,120,300,400 --version hiera_tiny
  sam2-block run detect_then_segment photo.jpg --output masks
"""


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
            arguments = _parse(argv)
        except BrokenPipeError:  # the reader of `--help` left; newer Python ignores this
            return OK
        if arguments.command is None:
            make_parser().print_help()
            return OK
        try:
            return OK if arguments.command(arguments) else FAILED
        except Sam2BlockError as error:
            print_message(str(error))
            return FAILED
        except KeyboardInterrupt:
            print_message("interrupted")
            return INTERRUPTED


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments; paths may come before, between and after the options."""
    parser = make_parser()
    argv = _joined(sys.argv[1:] if argv is None else argv)
    arguments, rest = parser.parse_known_args(argv)
    more_paths = getattr(arguments, "paths", None)
    if rest and (more_paths is None or any(one.startswith("-") for one in rest)):
        parser.parse_args(argv)  # ends the process, and names what it does not know
    if more_paths is not None:
        more_paths.extend(Path(one) for one in rest)
        if not more_paths and not getattr(arguments, "image", None):
            parser.error("expected at least one image, or a folder of images")
    return arguments


def _joined(argv: Sequence[str]) -> list[str]:
    """Join an option with coordinates that begin with a minus, which `argparse` rejects."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in ("--box", "--point", "--not") and argument.startswith("-"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="sam2-block",
        description="Boxes and points become masks, by SAM 2.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sam2-block {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(metavar="COMMAND", required=False)
    for command in (demo, segment, run, examples, models, check, doctor):
        command.add_parser(commands)
    return parser
