"""A point becomes a mask on a server: the first example of Roboflow's docs on SAM 2.

SAM2_BLOCK_API_URL=http://localhost:9001 python examples/remote_library_script.py
"""

from pathlib import Path

import cv2
import skimage.data
import supervision as sv

from sam2_block import Segmenter

photo_bgr = cv2.cvtColor(skimage.data.coffee(), cv2.COLOR_RGB2BGR)

segmenter = Segmenter.remote("hiera_tiny")  # or api_url="http://localhost:9001", api_key="..."
rows = segmenter.segment(photo_bgr, points=[{"x": 300, "y": 250, "positive": True}])

print(f"{rows.mask.sum()} px, score {rows['sam2_score'][0]:.2f}, box {rows.xyxy[0].tolist()}")

annotated = sv.MaskAnnotator().annotate(photo_bgr.copy(), rows)
path = Path("output/remote_library_script.png")
path.parent.mkdir(exist_ok=True)
cv2.imwrite(str(path), annotated)
print(f"wrote {path}")
