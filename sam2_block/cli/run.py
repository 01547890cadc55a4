"""`sam2-block run`: runs a workflow on images and writes the outputs to a folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_block.cli import parameters
from sam2_block.cli.console import path_text, print_message, print_result
from sam2_block.cli.examples import find_workflow
from sam2_block.cli.image_files import check_image_file, list_images
from sam2_block.cli.problems import run_problem
from sam2_block.cli.result_folder import check_output_folder
from sam2_block.cli.workflow_file import WorkflowFile
from sam2_block.errors import Sam2BlockError
from sam2_block.messages.one_line import one_line

if TYPE_CHECKING:
    from sam2_block.cli.results import ResultWriter

DESCRIPTION = """
Run a workflow definition on images, one after another. A table of each output that holds detections
is printed. DIR receives each output image as PNG, and everything else as one JSON file per image.
Only results of earlier runs in DIR are replaced. Steps that run Roboflow's models read the key from
ROBOFLOW_API_KEY.
"""
_MAX_NAMES = 3


def add_parser(commands: Any) -> None:
    """Add `run` to the parsers of the commands."""
    parser = commands.add_parser("run", help="run a workflow on images", description=DESCRIPTION)
    parser.add_argument(
        "workflow",
        type=_path,
        metavar="WORKFLOW",
        help="a JSON file, or the name of an example (`sam2-block examples`)",
    )
    parser.add_argument(
        "paths",
        type=_path,
        nargs="*",
        metavar="IMAGE",
        help="an image, or a folder of images, in which results of earlier runs are skipped",
    )
    parser.add_argument(
        "--image", type=_path, nargs="+", action="extend", default=[], help=argparse.SUPPRESS
    )
    parser.add_argument(
        "-o",
        "--output",
        type=_path,
        metavar="DIR",
        help="the folder for the results; default: output/ and the workflow's name",
    )
    parser.add_argument(
        "-p",
        "--param",
        type=parameters.parameter,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=parameters.HELP,
    )
    parser.set_defaults(command=_run)


def _path(argument: str) -> Path:
    if not argument:  # as from an unset variable; `Path("")` is the current folder
        raise argparse.ArgumentTypeError("expected a path; got an empty one")
    return Path(argument)


def _run(arguments: argparse.Namespace) -> bool:
    paths = [*arguments.paths, *arguments.image]
    workflow = WorkflowFile.read(find_workflow(arguments.workflow))
    if workflow.inside:
        print_message(
            f"{path_text(workflow.path)}: read the definition inside {'.'.join(workflow.inside)}"
        )
    if arguments.output is None:
        arguments.output = Path("output", workflow.path.stem)
    image_input, values = workflow.image_input(), dict(arguments.param)
    workflow.check_parameters(values)
    check_output_folder(arguments.output)
    images = list_images(paths)
    for remark in images.remarks:
        print_message(remark)
    print_message("starting the Workflows engine (5 to 10 seconds)")
    from sam2_block.cli.engine import start_engine

    engine = start_engine(workflow.definition)
    from sam2_block.cli.results import ResultWriter

    writer = ResultWriter(arguments.output, inputs=images.paths)
    failed = masks = 0
    start = time.perf_counter()
    for number, path in enumerate(images.paths, start=1):
        print_message(f"[{number}/{len(images.paths)}] {path_text(path)}")
        try:
            lines, count = _run_image(
                engine, workflow.definition, image_input, path, values, writer
            )
        except Sam2BlockError as error:
            problem = one_line(str(error))
        except (Exception, SystemExit) as error:  # a block's failure affects only its image
            problem = run_problem(error)
        else:
            masks += count
            print_result("\n".join(lines))
            continue
        failed += 1
        print_message(f"failed: {path_text(path)}: {problem}")
    engine.close()
    _report_unreplaced(arguments.output, writer)
    if failed:
        print_message(f"{failed} of {len(images.paths)} images failed")
    if len(images.paths) > 1:
        minutes, seconds = divmod(round(time.perf_counter() - start), 60)
        print_message(
            f"{len(images.paths):,} images, {masks:,} masks, {failed:,} failed,"
            f" {minutes}:{seconds:02d}, in {path_text(arguments.output)}"
        )
    return failed == 0


def _run_image(
    engine: Any,
    definition: dict[str, Any],
    image_input: str,
    path: Path,
    values: dict[str, Any],
    writer: ResultWriter,
) -> tuple[list[str], int]:
    """Run the workflow on one image, and write the outputs.

    Returns:
        The lines of a summary, and the number of masks in the outputs.
    """
    from sam2_block.cli.detection_tables import count_masks, detection_tables, empty_outputs
    from sam2_block.images.image_reading import read_image

    start = time.perf_counter()
    check_image_file(path)
    image = read_image(path)
    if image.remarks:
        print_message(f"{path_text(path)}: {'; '.join(image.remarks)}")
    results = engine.run(runtime_parameters={**values, image_input: image.pixels})
    # One image yields one result, unless a step has split it into a batch.
    outputs = results[0] if len(results) == 1 else {"results": results}
    for remark in empty_outputs(definition, outputs):
        print_message(f"{path_text(path)}: {remark}")
    written = writer.write(path, outputs)
    seconds = time.perf_counter() - start
    lines = [
        f"{path_text(path)} ({seconds:.1f} s)",
        *detection_tables(outputs),
        *(f"wrote {path_text(file)}" for file in written),
    ]
    return lines, count_masks(outputs)


def _report_unreplaced(folder: Path, writer: ResultWriter) -> None:
    """Report files of the folder that were not replaced and might be mistaken for results."""
    for names, reason in (
        (
            writer.protected,
            "no earlier run wrote this; the new results have other names, shown above",
        ),
        (writer.outdated, "a result of an earlier run that this one did not write again"),
    ):
        if names:
            shown = ", ".join(names[:_MAX_NAMES]) + (" and others" * (len(names) > _MAX_NAMES))
            print_message(f"{path_text(folder)}: kept {shown}: {reason}")
