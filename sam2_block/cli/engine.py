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

from sam2_block.cli.console import KEY_VARIABLES, print_message
from sam2_block.cli.problems import compile_problem
from sam2_block.errors import InputError, Sam2BlockError, SettingsError
from sam2_block.messages.one_line import one_line

PLUGIN = "sam2_block"

# Defaults that the caller's environment overrides. The engine logs every error of a step with its
# traceback, at level ERROR; the command reports the error itself, in one line.
_QUIET = {
    "DISABLE_VERSION_CHECK": "True",
    "IGNORE_MODEL_DEPENDENCIES_WARNINGS": "True",
    "INFERENCE_WARNINGS_DISABLED": "True",
    "LOG_LEVEL": "CRITICAL",
    "OPENCV_LOG_LEVEL": "SILENT",  # the command reports why an image cannot be read
    "TRANSFORMERS_VERBOSITY": "error",
}


def start_engine(definition: dict[str, Any]) -> Any:
    """Compile a workflow.

    Args:
        definition: The workflow's definition.

    Returns:
        An `ExecutionEngine`.

    Raises:
        InputError: The workflow does not compile; the message lists the engine's reasons.
        SettingsError: The engine cannot be started in this environment.
    """
    register_plugin()
    make_quiet()
    # The command reads results as NumPy arrays, even if servers on this machine use tensors.
    os.environ["ENABLE_TENSOR_DATA_REPRESENTATION"] = "False"
    try:
        with _without_garbage_collection():
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
        # Importing Roboflow's models takes seconds, so it is deferred until a block needs them.
        parameters["workflows_core.model_manager"] = _model_manager(has_inference)
        return ExecutionEngine.init(definition, init_parameters=parameters)
    except Sam2BlockError:
        raise
    except Exception as error:
        raise InputError(compile_problem(error, definition)) from error


def register_plugin() -> None:
    """Add this plugin to those that the environment names for the engine to load."""
    plugins = configured_plugins()
    if PLUGIN not in plugins:
        plugins.append(PLUGIN)
    os.environ["WORKFLOWS_PLUGINS"] = ",".join(plugins)


def configured_plugins() -> list[str]:
    """Return the names of the plugins that the environment has the engine load."""
    names = os.environ.get("WORKFLOWS_PLUGINS", "").split(",")
    return [name.strip() for name in names if name.strip()]


def make_quiet() -> None:
    """Silence the logs and warnings of the engine and its libraries."""
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    root = logging.getLogger()
    if not root.handlers:
        # Without any handler, the first library that calls `logging.info` gives the root logger
        # one that prints everything.
        root.addHandler(logging.NullHandler())


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Import without garbage collection, and exempt the imported objects from later collections.

    The 600,000 objects live as long as the process. Scanning them repeatedly takes one second of
    the import, and freeing them takes two seconds at exit.
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
    """Import `inference` if it is installed; return whether it is.

    It must be imported before the engine: the first import of the engine freezes its configuration,
    and importing `inference` after that fails if the environment sets anything.
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
    """Describe a failed import, and name the variables whose values its message quotes."""
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
        print_message("ROBOFLOW_API_KEY is not set; Roboflow's models may need it")
    from inference.core.managers.base import ModelManager
    from inference.core.registries.roboflow import RoboflowModelRegistry
    from inference.models.utils import ROBOFLOW_MODEL_TYPES

    return ModelManager(model_registry=RoboflowModelRegistry(ROBOFLOW_MODEL_TYPES))
