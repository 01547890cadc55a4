"""Start the Workflows engine in this process, with this plugin, quietly."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from sam2_block.cli.console import KEY_VARIABLES, one_line, say
from sam2_block.cli.problems import compile_problem
from sam2_block.errors import InputError, Sam2BlockError, SettingsError

PLUGIN = "sam2_block"

# Each is a default that the caller's own environment overrides. The engine logs every error of a
# step with its traceback, at level ERROR; the command says the error itself, in one line.
_QUIET = {
    "DISABLE_VERSION_CHECK": "True",
    "IGNORE_MODEL_DEPENDENCIES_WARNINGS": "True",
    "INFERENCE_WARNINGS_DISABLED": "True",
    "LOG_LEVEL": "CRITICAL",
    "OPENCV_LOG_LEVEL": "SILENT",  # the command says itself why an image cannot be read
    "TRANSFORMERS_VERBOSITY": "error",
}


def start_engine(definition: dict[str, Any]) -> Any:
    """Compile a workflow.

    Args:
        definition: The workflow's definition.

    Returns:
        An `ExecutionEngine`.

    Raises:
        InputError: The workflow does not compile; the message lists what the engine says of it.
        SettingsError: The engine cannot be started in this environment.
    """
    register_plugin()
    make_quiet()
    # The command reads results as numpy holds them, whatever this machine's servers use.
    os.environ["ENABLE_TENSOR_DATA_REPRESENTATION"] = "False"
    try:
        with _imports_kept():
            has_inference = _import_inference()
            from roboflow_workflows.errors import BlockInitParameterNotProvidedError
            from roboflow_workflows.execution_engine.core import ExecutionEngine
    except Sam2BlockError:
        raise
    except Exception as error:  # the engine reads its environment variables when it is imported
        raise SettingsError(_import_problem(error)) from error

    parameters: dict[str, Any] = {}
    if os.environ.get("ROBOFLOW_API_KEY"):
        parameters["workflows_core.api_key"] = os.environ["ROBOFLOW_API_KEY"]
    try:
        try:
            return ExecutionEngine.init(definition, init_parameters=parameters)
        except BlockInitParameterNotProvidedError as error:
            if "init parameter model_manager " not in str(error):
                raise
        # Importing Roboflow's models takes seconds, so it waits until a block asks for them.
        parameters["workflows_core.model_manager"] = _model_manager(has_inference)
        return ExecutionEngine.init(definition, init_parameters=parameters)
    except Sam2BlockError:
        raise
    except Exception as error:
        raise InputError(compile_problem(error, definition)) from error


def register_plugin() -> None:
    """Have the engine load this plugin, beside those that the environment names already."""
    named = [name.strip() for name in os.environ.get("WORKFLOWS_PLUGINS", "").split(",")]
    plugins = [name for name in named if name]
    if PLUGIN not in plugins:
        plugins.append(PLUGIN)
    os.environ["WORKFLOWS_PLUGINS"] = ",".join(plugins)


def make_quiet() -> None:
    """Keep the chatter of the engine and the libraries beneath it off the screen."""
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    root = logging.getLogger()
    if not root.handlers:
        # With no handler at all, the first library that calls `logging.info` gives the root
        # logger one that prints everything.
        root.addHandler(logging.NullHandler())


@contextlib.contextmanager
def _imports_kept() -> Iterator[None]:
    """Import without searching for garbage, then or when the process ends.

    The 600,000 objects stay as long as the process. To look through them again and again takes a
    second of the import, and to take them apart two seconds at the end.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _import_inference() -> bool:
    """Import `inference` if it is there; return whether it is.

    Before the engine: the engine's configuration is frozen by its first import, and importing
    `inference` after that fails where the environment sets anything.
    """
    if importlib.util.find_spec("inference") is None:
        return False
    try:
        import inference.core  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"the package `inference` is installed but cannot be imported ({error});"
            " repair or uninstall it."
        ) from error
    return True


def _import_problem(error: Exception) -> str:
    """Describe a failed import, with the variables whose values the message quotes."""
    message = one_line(f"{type(error).__name__}: {error}", 200)
    quoted = [name for name, value in os.environ.items() if value and f"'{value}'" in str(error)]
    names = ", ".join(sorted(quoted)) or "its installation and its environment variables"
    return f"the Workflows engine cannot be imported ({message}); check {names}."


def _model_manager(has_inference: bool) -> Any:
    if not has_inference:
        raise SettingsError(
            "a step of this workflow runs a Roboflow model, which needs the package `inference`;"
            " run `pip install 'sam2-block[inference]'`."
        )
    if not any(os.environ.get(variable) for variable in KEY_VARIABLES):
        say("ROBOFLOW_API_KEY is not set; Roboflow's models may need it")
    from inference.core.managers.base import ModelManager
    from inference.core.registries.roboflow import RoboflowModelRegistry
    from inference.models.utils import ROBOFLOW_MODEL_TYPES

    return ModelManager(model_registry=RoboflowModelRegistry(ROBOFLOW_MODEL_TYPES))
