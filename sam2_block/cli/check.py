"""`sam2-block check`: whether a workflow compiles, without running it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sam2_block.cli.console import path_text, print_message, print_result
from sam2_block.cli.examples import find_workflow
from sam2_block.cli.workflow_file import WorkflowFile
from sam2_block.errors import Sam2BlockError


def add_parser(commands: Any) -> None:
    """Add `check` to the parsers of the commands."""
    summary = "compile workflows and say what is wrong with them, without running them"
    parser = commands.add_parser("check", help=summary, description=summary.capitalize() + ".")
    parser.add_argument("workflows", type=Path, nargs="+", metavar="WORKFLOW")
    parser.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> bool:
    print_message("starting the Workflows engine (5 to 10 seconds)")
    from sam2_block.cli.engine import start_engine

    failed = 0
    for path in arguments.workflows:
        try:
            start_engine(WorkflowFile.read(find_workflow(path)).definition).close()
        except Sam2BlockError as error:
            failed += 1
            print_result(f"{path_text(path)}: {error}")
        else:
            print_result(f"{path_text(path)}: compiles")
    return not failed
