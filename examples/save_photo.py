"""Save one of scikit-image's photos, which come with the package, for the examples to work on.

python examples/save_photo.py coins output/coins.png
"""

import sys
from pathlib import Path

import skimage.data
import skimage.io

name, path = sys.argv[1], Path(sys.argv[2])
path.parent.mkdir(parents=True, exist_ok=True)
skimage.io.imsave(path, getattr(skimage.data, name)(), check_contrast=False)
print(f"wrote {path}")
