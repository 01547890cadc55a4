"""What the scripts of these tests begin with: children that end, and work for them."""
# ruff: noqa: F401 - the scripts use what is imported

import os
import signal
import sys
import threading
import time

import numpy as np
import supervision as sv

from sam2_block import Segmenter

CHILD_S = 90  # a child that takes longer hangs
BOXES = sv.Detections(xyxy=np.array([[20.0, 20.0, 90.0, 80.0]]))


def picture(seed=0):
    image = np.full((100, 120, 3), 40, np.uint8)
    image[20:80, 20:90] = (20, 200, 90)
    image[0, 0] = seed
    return image


def area(segmenter, seed=0):
    return int(segmenter.segment(picture(seed), BOXES).mask.sum())


def unload():
    from sam2_block.backends.local.models.model_registry import MODELS

    MODELS.unload()


def in_a_child(call):
    """Return what a call returns, or raises, in a forked child, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_S)
        try:
            result = repr(call())
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(writing, result.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        result = pipe.read()
    _, status = os.waitpid(child, 0)
    return f"hangs (signal {status})" if os.WIFSIGNALED(status) else result


def in_a_thread(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def check(what, expected, got):
    print(what if str(got) == str(expected) else f"{what}: expected {expected}, got {got}")
