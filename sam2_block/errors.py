"""Every error that this package raises on purpose.

```
Sam2BlockError
├── InputError (ValueError)            the request is at fault: change the request
│   ├── ImageError                     the image cannot be segmented
│   ├── PromptError                    a box or a point cannot be used
│   └── OptionError                    an option has a value outside its range
├── SettingsError                      the operator's configuration is at fault
├── CheckpointError                    the weights cannot be used
│   ├── CheckpointNotFoundError        they are in none of the places searched
│   └── CheckpointInvalidError         the file is not what its name says
└── ModelError                         the model ran, and gave nothing that can be used
```

A message says what was expected, what came, and what to do. None holds a secret: the Workflows
engine shows `str(error)` to the caller.
"""


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


class SettingsError(Sam2BlockError):
    """A setting of the operator cannot be used; the message names the environment variable."""


class CheckpointError(Sam2BlockError):
    """The weights of a version cannot be used."""


class CheckpointNotFoundError(CheckpointError):
    """The weights are in none of the places searched; the message lists the places."""


class CheckpointInvalidError(CheckpointError):
    """The file exists but does not hold the weights that its version needs."""


class ModelError(Sam2BlockError):
    """The model ran, and gave nothing that can be used, or ran out of memory."""
