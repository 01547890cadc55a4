"""Run the example on a video through `InferencePipeline`, in a process of its own, and report.

python -m tests.pipeline.run_pipeline VIDEO ITS_BEGINNING REPORT
"""

from __future__ import annotations

import gc
import json
import re
import sys
import time
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inference import InferencePipeline

from sam2_block.backends.fake import FakeBackend
from sam2_block.backends.local.local_backend import shared_backend
from sam2_block.blocks.engine.kinds import rle_column
from sam2_block.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "sam2_block" / "examples" / "track_then_segment.json"
WARM, EVERY = 50, 25
MIB = 2**20
QUEUE = 2
UNTRACKED_POINT, BAD_POINT = [8, 230], [8, 900]

# Stands in for a tracker or a detector in half precision: no box is finite.
SPOILER = {
    "type": "DynamicBlockDefinition",
    "manifest": {
        "type": "ManifestDescription",
        "block_type": "Spoiler",
        "inputs": {"boxes": {"type": "DynamicInputDefinition", "selector_types": ["step_output"]}},
        "outputs": {
            "predictions": {
                "type": "DynamicOutputDefinition",
                "kind": ["object_detection_prediction"],
            }
        },
    },
    "code": {
        "type": "PythonCode",
        "run_function_code": """
def run(self, boxes) -> BlockResult:
    spoiled = boxes[np.arange(len(boxes))]
    spoiled.xyxy = np.array([[np.nan, 5, np.inf, 1e39]] * len(boxes)).reshape(-1, 4)
    return {"predictions": spoiled}
""",
    },
}


class Memory:
    """What stays allocated from frame 50 on, looked at again and again."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def look(self, frame: int) -> None:
        if frame == WARM:
            tracemalloc.start()
        if frame >= WARM and frame % EVERY == 0:
            gc.collect()
            # By their type: asking a lazy module for its class would import it.
            tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
            (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
            figures = {
                "python_and_numpy": tracemalloc.get_traced_memory()[0],
                "tensors": sum(one.nbytes for one in tensors),
                "embeddings": shared_backend(Settings.from_environment().local).embeddings.nbytes,
                "resident": int(resident) * 1024,
            }
            self.seen.append({name: value / MIB for name, value in figures.items()})


class CountingBackend(FakeBackend):
    """Knows how many of the frames that it answered are still held by someone."""

    def __init__(self) -> None:
        super().__init__()
        self._frames: list[weakref.ref[np.ndarray]] = []

    def predict(self, image: np.ndarray, *args: Any, **options: Any) -> Any:
        whole = image
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        self._frames.append(weakref.ref(whole))
        return super().predict(image, *args, **options)

    def frames_alive(self) -> int:
        return sum(frame() is not None for frame in self._frames)


def run(
    video: str,
    *,
    backend: CountingBackend | None = None,
    tracker: dict[str, Any] | None = None,
    points: list[Any] | None = None,
    spoiled: bool = False,
    sink_s: float = 0,
    **options: Any,
) -> dict[str, Any]:
    """Run the example, with another tracker or further prompts, and tell what came out."""
    definition = json.loads(EXAMPLE.read_text())
    steps = {step["name"]: step for step in definition["steps"]}
    steps["tracker"].update(tracker or {})
    if points:
        steps["sam2"]["points"] = points
    if spoiled:
        definition["dynamic_blocks_definitions"].append(SPOILER)
        definition["steps"].append(
            {"type": "Spoiler", "name": "spoiler", "boxes": steps["sam2"]["boxes"]}
        )
        steps["sam2"]["boxes"] = "$steps.spoiler.predictions"
    frames: list[dict[str, Any]] = []
    errors: list[str] = []
    alive: list[int] = []
    memory = Memory()

    def sink(prediction: dict[str, Any], frame: Any) -> None:
        rows = prediction["predictions"]
        frames.append(
            {
                "frame": frame.frame_id - 1,
                "tracker_id": None if rows.tracker_id is None else rows.tracker_id.tolist(),
                "rle_mask": rle_column(rows).tolist(),
                "painted": bool((prediction["annotated"].numpy_image != frame.image).any()),
            }
        )
        if backend is None:
            memory.look(len(frames))
        else:
            alive.append(backend.frames_alive())
        time.sleep(sink_s)

    pipeline = InferencePipeline.init_with_workflow(
        video_reference=video,
        workflow_specification=definition,
        workflow_init_parameters={} if backend is None else {"sam2_block.backend": backend},
        on_prediction=sink,
        status_update_handlers=[
            lambda update: errors.append(str(update)) if update.severity.name == "ERROR" else None
        ],
        **options,
    )
    pipeline.start(use_main_thread=False)
    pipeline.join()
    pipeline.terminate()  # after an error, the thread that decodes would keep the process
    return {"frames": frames, "errors": errors, "memory": memory.seen, "alive": alive}


def main(video: str, beginning: str, report: str) -> None:
    runs = {
        # A short buffer: what it holds is not to hide what the block might.
        "real model": run(video, decoding_buffer_size=4),
        "another tracker, slow sink": run(
            video,
            backend=CountingBackend(),
            tracker={"type": "roboflow_core/byte_tracker@v3"},
            sink_s=0.01,
            max_fps=1000,
            predictions_queue_size=QUEUE,
            decoding_buffer_size=4,
            workflows_thread_pool_workers=8,
            execution_engine_thread_pool_workers=8,
        ),
        "untracked points": run(beginning, backend=CountingBackend(), points=[[UNTRACKED_POINT]]),
        "boxes that are not finite": run(beginning, backend=CountingBackend(), spoiled=True),
        "bad point": run(beginning, backend=CountingBackend(), points=[[BAD_POINT]]),
    }
    Path(report).write_text(json.dumps(runs, default=bytes.decode))


if __name__ == "__main__":
    main(*sys.argv[1:])
