"""SAM 2 without the engine: boxes in, `sv.Detections` with masks out.

python examples/library_script.py
"""

from pathlib import Path

import cv2
import supervision as sv

from sam2_block import Segmenter
from sam2_block.cli.examples import FOLDER

photo_bgr = cv2.imread(str(FOLDER / "rocket.jpg"))
boxes = [[300, 80, 345, 375]]  # from any detector; here one box drawn by hand

segmenter = Segmenter("demo")  # or "hiera_tiny" and larger: Meta's weights, downloaded once
rows = segmenter.segment(photo_bgr, boxes)

for mask, score in zip(rows.mask, rows["sam2_score"], strict=True):
    print(f"{mask.sum()} px, score {score:.2f}")

annotated = sv.MaskAnnotator().annotate(photo_bgr.copy(), rows)
path = Path("output/library_script.png")
path.parent.mkdir(exist_ok=True)
cv2.imwrite(str(path), annotated)
print(f"wrote {path}")
