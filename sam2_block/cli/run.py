"""`sam2-block run`: a workflow on any images, with what comes out on disk."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_block.cli import parameters
from sam2_block.cli.console import one_line, path_text, say, show
from sam2_block.cli.image_files import check_image_file, list_images
from sam2_block.cli.problems import run_problem
from sam2_block.cli.result_folder import check_output_folder
from sam2_block.cli.workflow_file import WorkflowFile
from sam2_block.errors import Sam2BlockError

if TYPE_CHECKING:
    from sam2_block.cli.results import ResultWriter

DESCRIPTION = """
Run a workflow definition on images, one after another. Prints a table of every output that is
detections, and writes into DIR each image output as PNG and everything else as one JSON file an
image. Results of earlier runs in DIR are replaced, other files never. Steps that run Roboflow's
models take the key from ROBOFLOW_API_KEY.
"""
_MAX_NAMES = 3


def add_parser(commands: Any) -> None:
    """Add `run` to the parsers of the commands."""
    parser = commands.add_parser("run", help="run a workflow on images", description=DESCRIPTION)
    parser.add_argument("workflow", type=_path, metavar="WORKFLOW.json")
    parser.add_argument(
        "--image",
        type=_path,
        nargs="+",
        action="extend",
        required=True,
        metavar="PATH",
        help="an image, or a folder for the images in it, without results of earlier runs",
    )
    parser.add_argument(
        "--output",
        type=_path,
        default=Path("output"),
        metavar="DIR",
        help="where the results go; default: output",
    )
    parser.add_argument(
        "--param",
        type=parameters.parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=parameters.HELP,
    )
    parser.set_defaults(command=_run)


def _path(argument: str) -> Path:
    if not argument:  # as from a variable that is not set; `Path("")` is the current folder
        raise argparse.ArgumentTypeError("expected a path; got an empty one")
    return Path(argument)


def _run(arguments: argparse.Namespace) -> bool:
    workflow = WorkflowFile.read(arguments.workflow)
    if workflow.inside:
        say(f"{path_text(workflow.path)}: read the definition inside {'.'.join(workflow.inside)}")
    image_input, values = workflow.image_input(), dict(arguments.param)
    workflow.check_parameters(values)
    check_output_folder(arguments.output)
    images = list_images(arguments.image)
    for remark in images.remarks:
        say(remark)
    say("starting the Workflows engine (5 to 10 seconds)")
    from sam2_block.cli.engine import start_engine

    engine = start_engine(workflow.definition)
    from sam2_block.cli.results import ResultWriter

    writer = ResultWriter(arguments.output, inputs=images.paths)
    failed = 0
    for number, path in enumerate(images.paths, start=1):
        say(f"[{number}/{len(images.paths)}] {path_text(path)}")
        try:
            lines = _run_image(engine, image_input, path, values, writer)
        except Sam2BlockError as error:
            problem = one_line(str(error))
        except (Exception, SystemExit) as error:  # whatever a block does costs its image, no other
            problem = run_problem(error)
        else:
            show("\n".join(lines))
            continue
        failed += 1
        say(f"failed: {path_text(path)}: {problem}")
    engine.close()
    _say_left(arguments.output, writer)
    if failed:
        say(f"{failed} of {len(images.paths)} images failed")
    return failed == 0


def _run_image(
    engine: Any,
    image_input: str,
    path: Path,
    values: dict[str, Any],
    writer: ResultWriter,
) -> list[str]:
    """Run the workflow on one image, write what comes out, and return a summary in lines."""
    from sam2_block.cli.detection_tables import detection_tables
    from sam2_block.cli.image_reading import read_image

    start = time.perf_counter()
    check_image_file(path)
    image = read_image(path)
    if image.remarks:
        say(f"{path_text(path)}: {'; '.join(image.remarks)}")
    results = engine.run(runtime_parameters={**values, image_input: image.pixels})
    # One image gives one result, unless a step made a batch of its own out of it.
    outputs = results[0] if len(results) == 1 else {"results": results}
    written = writer.write(path, outputs)
    seconds = time.perf_counter() - start
    return [
        f"{path_text(path)} ({seconds:.1f} s)",
        *detection_tables(outputs),
        *(f"wrote {path_text(file)}" for file in written),
    ]


def _say_left(folder: Path, writer: ResultWriter) -> None:
    """Name the files of the folder that were not replaced, and might be taken for results."""
    for names, reason in (
        (writer.kept, "no earlier run wrote this; the new results have other names, shown above"),
        (writer.outdated, "a result of an earlier run that this one did not give again"),
    ):
        if names:
            shown = ", ".join(names[:_MAX_NAMES]) + (" and others" * (len(names) > _MAX_NAMES))
            say(f"{path_text(folder)}: kept {shown}: {reason}")
