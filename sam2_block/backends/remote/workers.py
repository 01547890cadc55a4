"""Run requests side by side, a bounded number at once, and wait no longer than agreed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from typing import TypeVar

from sam2_block.backends.remote.retry import Deadline
from sam2_block.errors import RemoteTimeoutError

Result = TypeVar("Result")

# Beyond the deadline: enough for a request that is giving up to say why.
_GRACE_S = 1.0


class Workers:
    """A bounded number of threads for requests.

    A request watches its own deadline; but a name server that hangs, or an answer whose headers
    drip in, it cannot watch. So nobody waits for a request any longer than it may take: who waits
    is told in time, and the thread ends when the network does.

    Args:
        count: Most requests under way at once.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, "sam2_block-remote")

    def run(
        self, calls: Sequence[Callable[[], Result]], deadline: Deadline, asked: str
    ) -> list[Result]:
        """Make calls side by side and return their results in order.

        Args:
            calls: What to do.
            deadline: When to give up.
            asked: Who is asked, for the message.

        Raises:
            Exception: What the first of the failed calls raised. Those not yet begun are dropped.
            RemoteTimeoutError: The deadline is over.
        """
        futures = [self._threads.submit(call) for call in calls]
        try:
            return [future.result(deadline.remaining_s() + _GRACE_S) for future in futures]
        except TimeoutError:
            raise RemoteTimeoutError(
                f"{asked} had not answered when the {deadline.seconds:g} s for one image were over"
                " (SAM2_BLOCK_DEADLINE_S)."
            ) from None
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End the threads, without waiting for requests under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
