"""A workflow from Python, with the engine only: no server and no command.

python examples/engine_script.py
"""

import json
import os
from pathlib import Path

# Set before the engine is imported, which reads the names of its plugins from here.
os.environ["WORKFLOWS_PLUGINS"] = "sam2_block"

import cv2
import skimage.data
from roboflow_workflows.execution_engine.core import ExecutionEngine

# A program that also uses `inference` imports `inference.core` before the engine.

definition = json.loads(Path(__file__).with_name("detect_then_segment.json").read_text())
engine = ExecutionEngine.init(definition)

photo_bgr = cv2.cvtColor(skimage.data.coins(), cv2.COLOR_GRAY2BGR)
results = engine.run(runtime_parameters={"image": [photo_bgr], "version": "demo"})

rows = results[0]["predictions"]  # sv.Detections, one row per box of the detector
for name, box_xyxy, mask, score in zip(
    rows["class_name"], rows.xyxy, rows.mask, rows["sam2_score"], strict=True
):
    print(f"{name}: box {box_xyxy.astype(int).tolist()}, {mask.sum()} px, score {score:.2f}")
engine.close()
