"""The parent's side of a worker: start it, ask it, watch it, end it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing import Pipe

from benchmark.jobs import Answer, Facts, Failure, Job, Roofline, precision_of
from benchmark.memory import GIB, resident
from benchmark.places import Places

START_TIMEOUT_S = 300
_LOOK_EVERY_S = 0.1

# Run by `-c` and not as a script: no folder of ours may hide a package.
_PROGRAM = "import sys; sys.path.pop(0); from benchmark.worker import main; main(sys.argv[1:])"


class WorkerProcess:
    """One system in a process of its own, which is started on first use and after it has died.

    Args:
        name: One of `SYSTEMS`.
        places: Weights and scratch folder.
        most_bytes: Memory that it may take.
        variables: Further variables of its environment.
    """

    def __init__(
        self,
        name: str,
        places: Places,
        most_bytes: int,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._variables = variables or {}
        self._places = places
        self._most_bytes = most_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it without waiting until it has loaded."""
        if self._process is not None:
            return
        self._pipe, theirs = Pipe()
        log = (self._places.scratch / f"{self.name}.log").open("ab")
        with log, theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _PROGRAM, str(theirs.fileno()), self.name),
                    *(str(self._places.weights.resolve()), str(self._places.scratch)),
                    str(self._most_bytes),
                ],
                cwd=self._places.scratch,
                env={**self._places.environment(precision_of(self.name)), **self._variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        self._facts: Facts | Failure | None = None

    def facts(self) -> Facts | Failure:
        """Wait until it has loaded and return what it says of itself."""
        self.start()
        if self._facts is None:
            facts = self._receive(START_TIMEOUT_S)
            assert not isinstance(facts, Answer)
            self._facts = facts
            if isinstance(facts, Failure):
                self.end()
        return self._facts

    def ask(self, job: Job | Roofline, timeout_s: float) -> Answer | Facts | Failure:
        """Have a job done; a worker that dies, takes too long or too much memory has failed."""
        facts = self.facts()
        if isinstance(facts, Failure):
            return Failure(f"does not start: {facts.why}")
        try:
            self._pipe.send(job)
        except OSError:
            self.end()
            return Failure("died before it was asked")
        return self._receive(timeout_s)

    def _receive(self, timeout_s: float) -> Answer | Facts | Failure:
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        try:
            while not self._pipe.poll(_LOOK_EVERY_S):
                with contextlib.suppress(OSError, RuntimeError):
                    if resident("VmRSS", self._process.pid) > self._most_bytes:
                        self.end()
                        return Failure(f"needs more than {self._most_bytes / GIB:.1f} GiB")
                if time.monotonic() > deadline:
                    self.end()
                    return Failure(f"needs more than {timeout_s:.0f} s")
            answer: Answer | Facts | Failure = self._pipe.recv()
        except (EOFError, OSError):
            self._process.wait()
            code = self._process.returncode
            self.end()
            return Failure(f"its process ended with status {code}")
        return answer

    def end(self) -> None:
        """End it; the next job starts it anew."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        self._pipe.close()
