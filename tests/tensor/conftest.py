"""Tests of the engine's tensor representation, which is a matter of the whole process.

`tests/engine/test_tensor_mode.py` runs them in one of its own, with
`ENABLE_TENSOR_DATA_REPRESENTATION=True`; elsewhere nothing of this folder is collected.
"""

from __future__ import annotations

from roboflow_workflows.environment import ENABLE_TENSOR_DATA_REPRESENTATION

collect_ignore_glob = [] if ENABLE_TENSOR_DATA_REPRESENTATION else ["test_*.py"]
