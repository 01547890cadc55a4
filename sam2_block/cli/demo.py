"""`sam2-block demo`: a detector's boxes become masks, on a photo that comes with the package."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sam2_block.cli.console import path_text, print_message, print_result
from sam2_block.cli.examples import FOLDER
from sam2_block.cli.result_folder import ResultFolder, check_output_folder

WORKFLOW, PHOTO = "detect_then_segment", "coins.png"


def add_parser(commands: Any) -> None:
    """Add `demo` to the parsers of the commands."""
    summary = "find coins on a photo, and turn their boxes into masks"
    parser = commands.add_parser("demo", help=summary, description=summary.capitalize() + ".")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("output/demo"), metavar="DIR",
        help="the folder for the results; default: output/demo",
    )  # fmt: skip
    parser.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> bool:
    check_output_folder(arguments.output)
    print_message("starting the Workflows engine (5 to 10 seconds)")
    from sam2_block.cli.engine import start_engine
    from sam2_block.cli.mask_results import write_masks
    from sam2_block.images.image_reading import read_image

    definition = json.loads((FOLDER / f"{WORKFLOW}.json").read_text("utf-8"))
    boxes = {"type": "JsonField", "name": "boxes", "selector": "$steps.detector.predictions"}
    definition["outputs"].append({**boxes, "coordinates_system": "own"})
    engine = start_engine(definition)
    photo = read_image(FOLDER / PHOTO).pixels
    (outputs,) = engine.run(runtime_parameters={"image": photo})
    engine.close()
    masks = outputs["predictions"]
    folder = ResultFolder(arguments.output)
    picture_path, json_path = write_masks(folder, Path(PHOTO).stem, photo, outputs["boxes"], masks)
    return print_result(
        f"{len(masks)} coins found, {len(masks)} masks\n"
        f"picture: {path_text(picture_path)}\n"
        f"JSON:    {path_text(json_path)}\n"
        "\n"
        "On your own photo:      sam2-block segment PHOTO --box LEFT,TOP,RIGHT,BOTTOM\n"
        "With Meta's own SAM 2:  sam2-block models fetch hiera_tiny"
    )
