"""A workflow from Python, with the engine only: no server and no command.

python examples/engine_script.py
"""

import json
import os

# Set before the engine is imported, which reads the names of its plugins from here.
os.environ["WORKFLOWS_PLUGINS"] = "sam2_block"

import cv2
from roboflow_workflows.execution_engine.core import ExecutionEngine

from sam2_block.cli.examples import FOLDER

# A program that also uses `inference` imports `inference.core` before the engine.

definition = json.loads((FOLDER / "detect_then_segment.json").read_text())
engine = ExecutionEngine.init(definition)

photo_bgr = cv2.imread(str(FOLDER / "coins.png"))
results = engine.run(runtime_parameters={"image": [photo_bgr], "version": "demo"})

rows = results[0]["predictions"]  # sv.Detections, one row per box of the detector
for name, box_xyxy, mask, score in zip(
    rows["class_name"], rows.xyxy, rows.mask, rows["sam2_score"], strict=True
):
    print(f"{name}: box {box_xyxy.astype(int).tolist()}, {mask.sum()} px, score {score:.2f}")
engine.close()
