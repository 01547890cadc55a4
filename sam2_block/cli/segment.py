"""`sam2-block segment`: masks of boxes and points on photos, without the engine."""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam2_block.cli.console import path_text, print_message, print_result
from sam2_block.cli.image_files import check_image_file, list_images
from sam2_block.cli.prompt_arguments import (
    BoxesFile,
    box_argument,
    detections_of_items,
    point_argument,
)
from sam2_block.cli.result_folder import ResultFolder, check_output_folder
from sam2_block.errors import InputError, PromptError
from sam2_block.versions import DEFAULT, DEMO, NAMES

if TYPE_CHECKING:
    import supervision as sv

    from sam2_block.segmenter import Segmenter

DESCRIPTION = """
Segment objects on photos: one mask for each --box and each box of --boxes, and one for all the
points together. Writes for each photo a picture, boxes on the left and masks on the right, and a
JSON file.
"""
_NO_PROMPT = (
    "no prompt: give boxes by --box LEFT,TOP,RIGHT,BOTTOM or --boxes FILE.json, or points by"
    " --point X,Y (on the object) and --not X,Y (beside it), in pixels"
)


def add_parser(commands: Any) -> None:
    """Add `segment` to the parsers of the commands."""
    parser = commands.add_parser(
        "segment", help="segment objects on photos, by boxes or points", description=DESCRIPTION
    )
    parser.add_argument("paths", type=Path, nargs="*", metavar="PHOTO", help="a file, or a folder")
    parser.add_argument(
        "--box",
        type=box_argument,
        action="append",
        default=[],
        metavar="L,T,R,B",
        help="left, top, right and bottom of a box in pixels; may be repeated",
    )
    parser.add_argument(
        "--point",
        type=point_argument,
        action="append",
        default=[],
        metavar="X,Y",
        help="a point on the object; all points together are one object",
    )
    parser.add_argument(
        "--not",
        dest="negative",
        type=point_argument,
        action="append",
        default=[],
        metavar="X,Y",
        help="a point that does not belong to the object",
    )
    parser.add_argument(
        "--boxes",
        metavar="FILE",
        help="JSON with a list of boxes, or with one list for each file name; - for stdin",
    )
    parser.add_argument(
        "--version",
        choices=NAMES,
        metavar="VERSION",
        help=f"the model; default: {DEFAULT} where its weights are on this machine, else {DEMO}",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("output"),
        metavar="DIR",
        help="where the results go; default: output",
    )
    parser.set_defaults(command=_segment)


def _segment(arguments: argparse.Namespace) -> bool:
    check_output_folder(arguments.output)
    photos = list_images(arguments.paths)
    for remark in photos.remarks:
        print_message(remark)
    if arguments.negative and not arguments.point:
        raise PromptError("--not X,Y: needs a --point X,Y on the object as well.")
    if not (arguments.box or arguments.point or arguments.boxes):
        raise PromptError(f"{_NO_PROMPT}.{_sizes(photos.paths)}")
    boxes_file = BoxesFile.read(arguments.boxes) if arguments.boxes else None
    version = arguments.version or _default_version()
    from sam2_block.segmenter import Segmenter

    folder = ResultFolder(arguments.output, photos.paths)
    failed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the log names the demo model, too
        segmenter = Segmenter(version)
    with segmenter:
        for path in photos.paths:
            try:
                print_result(
                    "\n".join(_segment_photo(segmenter, path, arguments, boxes_file, folder))
                )
            except InputError as error:  # any other error would be the same for each photo
                failed += 1
                print_message(f"failed: {path_text(path)}: {error}")
    if failed:
        print_message(f"{failed} of {len(photos.paths)} photos failed")
    return failed == 0


def _default_version() -> str:
    from sam2_block.backends.local.models.checkpoints import find_checkpoint
    from sam2_block.settings import Settings

    if find_checkpoint(DEFAULT, Settings.from_environment().local):
        return DEFAULT
    print_message(f"the weights of {DEFAULT} are not on this machine: using version {DEMO!r}")
    return DEMO


def _segment_photo(
    segmenter: Segmenter,
    path: Path,
    arguments: argparse.Namespace,
    boxes_file: BoxesFile | None,
    folder: ResultFolder,
) -> list[str]:
    """Segment one photo, write its results, and return a summary in lines."""
    from sam2_block.cli.detection_tables import detection_tables
    from sam2_block.cli.mask_results import write_masks
    from sam2_block.images.image_reading import read_image
    from sam2_block.prompts.normalized_coordinates import normalized_sentence

    start = time.perf_counter()
    check_image_file(path)
    photo = read_image(path)
    if photo.remarks:
        print_message(f"{path_text(path)}: {'; '.join(photo.remarks)}")
    boxes = _boxes(arguments.box, boxes_file, path)
    points = [(*point, True) for point in arguments.point]
    points += [(*point, False) for point in arguments.negative]
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        masks = segmenter.segment(photo.pixels, boxes, points or None)
    logged = normalized_sentence("boxes", (photo.pixels.shape[0], photo.pixels.shape[1]))
    for text in (str(doubt.message) for doubt in doubts):
        if text != f"{logged}.":
            print_message(f"{path_text(path)}: {text}")
    picture_path, json_path = write_masks(
        folder,
        path.stem,
        photo.pixels,
        boxes,
        masks,
        fields={"file": str(path)},
        points=arguments.point,
        negative_points=arguments.negative,
    )
    return [
        f"{path_text(path)} ({time.perf_counter() - start:.1f} s)",
        *detection_tables({"masks": masks}),
        f"wrote {path_text(picture_path)} and {path_text(json_path)}",
    ]


def _boxes(
    box_arguments: list[tuple[float, ...]], boxes_file: BoxesFile | None, path: Path
) -> sv.Detections:
    """Return the boxes of the command line, then those of the file."""
    items: list[Any] = [list(box) for box in box_arguments]
    if boxes_file is not None:
        items += boxes_file.items(path)
    return detections_of_items(boxes_file.name if boxes_file else "", items)


def _sizes(paths: list[Path]) -> str:
    """Return the size of the first photo, for who has to choose coordinates."""
    import PIL.Image

    try:
        with PIL.Image.open(paths[0]) as image:
            return f" {paths[0].name} is {image.width} pixels wide and {image.height} high."
    except (OSError, ValueError):
        return ""
