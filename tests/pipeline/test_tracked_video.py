"""A detector, a core tracker and the block on the frames of a video, in `InferencePipeline`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.pipeline.scene import FRAMES, HEIGHT, HOLD, WIDTH, shapes, write_video

pytest.importorskip("inference.core")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's count in /proc"),
]

ROOT = Path(__file__).parents[2]
CACHE_MIB = 6  # two embeddings of `demo`, of the twelve that the video needs
QUEUE = 2  # results that may wait for the slow sink; as in run_pipeline.py

REAL, SLOW, POINTS = "real model", "another tracker, slow sink", "untracked points"
LENGTHS = {REAL: FRAMES, SLOW: FRAMES, POINTS: 5 * HOLD}
IOU_FLOOR = {REAL: 0.95, SLOW: 0.75, POINTS: 0.75}  # the fake model fills the ellipse's box
runs_all = pytest.mark.parametrize("name", LENGTHS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the pipelines in a process of their own, whose memory is theirs alone."""
    folder = tmp_path_factory.mktemp("pipeline")
    video = write_video(folder / "shapes.avi")
    beginning = write_video(folder / "beginning.avi", LENGTHS[POINTS])
    report = folder / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.run_pipeline", video, beginning, str(report)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=1200,  # a stream that never ends is to fail, too
        env={
            **os.environ,
            "SAM2_BLOCK_CACHE_BYTES": str(CACHE_MIB * 2**20),
            "SAM2_BLOCK_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",  # more would wait for each other on a busy machine
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    read: dict[str, Any] = json.loads(report.read_text())
    return read


def rows_by_shape(
    frame: dict[str, Any], least_iou: float
) -> tuple[dict[str, int], list[tuple[int, np.ndarray]]]:
    """Return the track of each shape that a mask was found for, and the rows of no shape."""
    truths = shapes(frame["frame"])
    by_shape: dict[str, int] = {}
    others = []
    for track, rle in zip(frame["tracker_id"], frame["rle_mask"], strict=True):
        mask = coco_mask.decode(rle).astype(bool)
        assert mask.shape == (HEIGHT, WIDTH)
        for name, truth in truths.items():
            if (mask & truth).sum() >= least_iou * (mask | truth).sum():
                assert name not in by_shape
                by_shape[name] = track
                break
        else:
            others.append((track, mask))
    return by_shape, others


@runs_all
def test_every_frame_is_answered_in_order_and_without_an_error(
    name: str, runs: dict[str, Any]
) -> None:
    assert [frame["frame"] for frame in runs[name]["frames"]] == list(range(LENGTHS[name]))
    assert runs[name]["errors"] == []


@runs_all
def test_a_shape_keeps_its_track_and_its_mask_covers_it(name: str, runs: dict[str, Any]) -> None:
    tracks: dict[str, set[int]] = {"ellipse": set(), "rectangle": set()}
    before: set[str] = set()
    for frame in runs[name]["frames"]:
        found, _ = rows_by_shape(frame, IOU_FLOOR[name])
        for shape, track in found.items():
            tracks[shape].add(track)
        there = set(shapes(frame["frame"]))
        # A tracker follows a shape that comes, or comes back, from its second frame on.
        assert there & before <= set(found) <= there
        before = there
    # Also over the moment without a shape in the middle.
    assert [len(ids) for ids in tracks.values()] == [1, 1]
    assert tracks["ellipse"] != tracks["rectangle"]
    assert min(*tracks["ellipse"], *tracks["rectangle"]) >= 0


@pytest.mark.parametrize("name", [REAL, SLOW])
def test_frames_without_a_track_have_no_rows(name: str, runs: dict[str, Any]) -> None:
    without = 0
    for frame in runs[name]["frames"]:
        found, others = rows_by_shape(frame, IOU_FLOOR[name])
        assert others == []
        assert frame["painted"] == bool(found)
        if not found:
            without += 1
            assert frame["tracker_id"] == []
    assert without > 2 * HOLD


def test_points_beside_tracks_are_untracked(runs: dict[str, Any]) -> None:
    for frame in runs[POINTS]["frames"]:
        _, ((track, mask),) = rows_by_shape(frame, IOU_FLOOR[POINTS])
        assert track == -1
        assert mask[230, 8]
        assert frame["painted"]


def test_boxes_that_are_not_finite_do_not_end_the_stream(runs: dict[str, Any]) -> None:
    run = runs["boxes that are not finite"]
    assert run["errors"] == []
    assert [frame["frame"] for frame in run["frames"]] == list(range(LENGTHS[POINTS]))
    rows = [rle for frame in run["frames"] for rle in frame["rle_mask"]]
    assert len(rows) > HOLD
    assert not any(coco_mask.decode(rle).any() for rle in rows)


def test_an_error_ends_the_stream_and_is_told(runs: dict[str, Any]) -> None:
    assert runs["bad point"]["frames"] == []
    (told,) = runs["bad point"]["errors"]
    assert "object 0, point 0: (8, 900) lies outside the image" in told


def test_memory_stays_flat(runs: dict[str, Any]) -> None:
    """From frame 50 on: the masks of all frames would be 25 MiB, their embeddings 30."""
    looks = runs[REAL]["memory"]
    assert len(looks) == 11
    first, last = looks[0], looks[-1]
    assert max(look["python_and_numpy"] for look in looks) < 12
    assert max(look["tensors"] for look in looks) < first["tensors"] + 8
    assert all(0 < look["embeddings"] <= CACHE_MIB for look in looks)
    assert last["resident"] < first["resident"] + 64  # allocators keep some of what they freed


def test_frames_do_not_pile_up_before_a_slow_sink(runs: dict[str, Any]) -> None:
    alive = runs[SLOW]["alive"]
    assert len(alive) == FRAMES
    # Besides those in the queue: at the sink, before the full queue, in the engine.
    assert max(alive) <= QUEUE + 6
