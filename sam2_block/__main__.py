"""`python -m sam2_block`, the same as the command `sam2-block`."""

from __future__ import annotations

import sys

from sam2_block.cli import main

sys.exit(main())
