"""`sam2-block run`: a workflow on any images, with what comes out on disk."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_block.cli.console import one_line, redact, say
from sam2_block.cli.image_files import list_images, read_image
from sam2_block.cli.problems import run_problem
from sam2_block.cli.workflow_file import WorkflowFile
from sam2_block.errors import Sam2BlockError

if TYPE_CHECKING:
    from sam2_block.cli.results import ResultWriter

DESCRIPTION = """
Run a workflow definition on images, one after another. Prints a table of every output that is
detections, and writes into DIR each image output as PNG and everything else as one JSON file an
image. Steps that run Roboflow's models take the key from ROBOFLOW_API_KEY.
"""


def add_parser(commands: Any) -> None:
    """Add `run` to the parsers of the commands."""
    parser = commands.add_parser("run", help="run a workflow on images", description=DESCRIPTION)
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW.json")
    parser.add_argument(
        "--image",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="PATH",
        help="an image, or a folder for the images in it",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output"),
        metavar="DIR",
        help="where the results go; default: output",
    )
    parser.add_argument(
        "--param",
        type=_parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the workflow; VALUE is read as JSON where it is JSON, else as text",
    )
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> bool:
    workflow = WorkflowFile.read(arguments.workflow)
    image_input, parameters = workflow.image_input(), dict(arguments.param)
    workflow.check_parameters(parameters)
    paths = list_images(arguments.image)
    say("starting the Workflows engine (about 10 seconds)")
    from sam2_block.cli.engine import start_engine

    engine = start_engine(workflow.definition)
    from sam2_block.cli.results import ResultWriter

    writer = ResultWriter(arguments.output)
    failed = 0
    for number, path in enumerate(paths, start=1):
        say(f"[{number}/{len(paths)}] {path}")
        try:
            _run_image(engine, image_input, path, parameters, writer)
        except Sam2BlockError as error:
            problem = one_line(str(error))
        except Exception as error:  # whatever a block does wrong costs its image, no other
            problem = run_problem(error)
        else:
            continue
        failed += 1
        say(f"failed: {path}: {problem}")
    engine.close()
    if failed:
        say(f"{failed} of {len(paths)} images failed")
    return failed == 0


def _run_image(
    engine: Any,
    image_input: str,
    path: Path,
    parameters: dict[str, Any],
    writer: ResultWriter,
) -> None:
    from sam2_block.cli.detection_tables import detection_tables

    start = time.perf_counter()
    results = engine.run(runtime_parameters={**parameters, image_input: read_image(path)})
    # One image gives one result, unless a step made a batch of its own out of it.
    outputs = results[0] if len(results) == 1 else {"results": results}
    written = writer.write(path, outputs)
    seconds = time.perf_counter() - start
    lines = [
        f"{path} ({seconds:.1f} s)",
        *detection_tables(outputs),
        *(f"wrote {file}" for file in written),
    ]
    print(redact("\n".join(lines)), flush=True)


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE; got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
