"""Run as a folder: `python tools/benchmark`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Modules are `benchmark.<name>`, and the package that is measured is this checkout's.
    sys.path[0:1] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]
    from benchmark.cli import main

    sys.exit(main())
