"""Every error that this package raises on purpose.

```
Sam2BlockError
├── InputError (ValueError)            the request is at fault: change the request
│   ├── ImageError                     the image cannot be segmented
│   ├── PromptError                    a box or a point cannot be used
│   ├── OptionError                    an option has a value outside its range
│   ├── EndpointNotAllowedError        the workflow names a server that is not allowed
│   ├── ExecutionNotAllowedError       SAM 2 may not run where the workflow requests
│   └── ClosedError                    the segmenter or the step is closed
├── ForkError                          a forked process cannot use what its parent used
├── SettingsError                      the operator's configuration is at fault
├── CheckpointError                    the weights cannot be used
│   ├── CheckpointNotFoundError        they are in none of the locations searched
│   └── CheckpointInvalidError         the file does not match its name
├── ModelError                         the model ran, but returned no usable result
└── RemoteError                        a server did not respond as it should
    ├── RemoteConnectionError          no connection, or it broke
    ├── RemoteTimeoutError             no response in time
    ├── RemoteStatusError              a response with an error status
    └── RemoteResponseError            a response that violates the endpoint's format
```

A message states what was expected, what was given, and what to do. No message holds a secret: the
Workflows engine shows `str(error)` to the caller. Most messages about a server are made in
`backends/remote/http/failures.py`, those about the content of a response in `wire.py` beside it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Sam2BlockError(Exception):
    """Base of every error of this package."""


class InputError(Sam2BlockError, ValueError):
    """The request is at fault; the same request would fail again."""


class ImageError(InputError):
    """The image has a shape, a type or a size that SAM 2 cannot take."""


class PromptError(InputError):
    """A box or a point cannot be used; the message names it by its index."""


class OptionError(InputError):
    """An option of the request has a value outside its range."""


class EndpointNotAllowedError(InputError):
    """A workflow names a server that the operator did not allow, or that is not a server at all."""


class ExecutionNotAllowedError(InputError):
    """SAM 2 may not run where requested: not allowed by the operator, or not while offline."""


class ClosedError(InputError):
    """A segmenter, or a step of a workflow, was used after it was closed."""


class ForkError(Sam2BlockError):
    """A forked process cannot run SAM 2, because of the moment of the fork or of its device."""


class SettingsError(Sam2BlockError):
    """A setting of the operator cannot be used; the message names the environment variable."""


class CheckpointError(Sam2BlockError):
    """The weights of a version cannot be used."""


class CheckpointNotFoundError(CheckpointError):
    """The weights are in none of the locations searched; the message lists them."""


class CheckpointInvalidError(CheckpointError):
    """The file exists but does not hold the weights that its version needs."""


class ModelError(Sam2BlockError):
    """The model ran, but returned no usable result, or ran out of memory."""


class RemoteError(Sam2BlockError):
    """A server did not respond as it should.

    Attributes:
        transient: Whether the same request may well succeed later.
        retry_after_s: The server's `Retry-After` in seconds, or None.
    """

    def __init__(
        self, message: str, *, transient: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after_s = retry_after_s

    def with_context(self, context: str) -> Self:
        """Return the same error, with its attributes, and a sentence appended to its message."""
        extended = copy.copy(self)
        extended.args = (f"{self} {context}",)
        return extended


class RemoteConnectionError(RemoteError):
    """There is no connection to the server, or it broke."""


class RemoteTimeoutError(RemoteError):
    """The server did not respond in time."""


class RemoteStatusError(RemoteError):
    """The server responded with an HTTP status other than 200.

    Attributes:
        status: The HTTP status.
        detail: The server's own message, without the key; may be empty.
        prompt_index: Index of the prompt that the server rejects, if its message names one.
        refuses_format: Whether the server rejects the requested format of masks.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        detail: str = "",
        prompt_index: int | None = None,
        refuses_format: bool = False,
        transient: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, transient=transient, retry_after_s=retry_after_s)
        self.status = status
        self.detail = detail
        self.prompt_index = prompt_index
        self.refuses_format = refuses_format


class RemoteResponseError(RemoteError):
    """The server's response violates the endpoint's format; no part of it is used."""
