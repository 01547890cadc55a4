"""SAM 2 without the engine: `sv.Detections` in, `sv.Detections` out.

python examples/library_script.py
"""

from pathlib import Path

import cv2
import numpy as np
import skimage.data
import supervision as sv

from sam2_block import Segmenter

photo_bgr = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
boxes = sv.Detections(  # from any detector; here two boxes drawn by hand
    xyxy=np.array([[172, 70, 280, 190], [278, 345, 498, 512]], dtype=np.float32),
    class_id=np.array([0, 1]),
    data={"class_name": np.array(["face", "helmet"])},
)

segmenter = Segmenter("demo")  # or "hiera_tiny" and larger: Meta's weights, downloaded once
rows = segmenter.segment(photo_bgr, boxes)

for name, mask, score in zip(rows["class_name"], rows.mask, rows["sam2_score"], strict=True):
    print(f"{name}: {mask.sum()} px, score {score:.2f}")

annotated = sv.MaskAnnotator().annotate(photo_bgr.copy(), rows)
path = Path("output/library_script.png")
path.parent.mkdir(exist_ok=True)
cv2.imwrite(str(path), annotated)
print(f"wrote {path}")
