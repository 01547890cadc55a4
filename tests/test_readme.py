"""What the README says can be run runs, and its tables are those of the code."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from sam2_block.settings import ENV_PREFIX, SETTING_NAMES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("bash")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def table(first_column: str) -> dict[str, list[str]]:
    """Return the rows of the table with that heading, by the code in their first cell."""
    rows = README.split(f"| {first_column} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0].strip("` "): row[1:] for row in cells}


def test_the_two_commands_are_there() -> None:
    named = [command[0] for command in commands() if command[0].startswith("scripts/")]
    assert named == ["scripts/demo", "scripts/test"]
    assert all((ROOT / name).is_file() for name in named)


@pytest.mark.parametrize("command", [c for c in commands() if c[0] == "sam2-block"], ids=" ".join)
def test_commands_of_the_tool_parse(command: list[str]) -> None:
    from sam2_block.cli import make_parser

    assert make_parser().parse_args(command[1:])


def test_figures_of_half_precision_are_the_recorded() -> None:
    figures = json.loads((ROOT / "docs" / "precisions.json").read_text())["figures"]["all"]
    (paragraph,) = (text for text in README.split("\n\n") if text.startswith("**Fidelity.**"))
    for figure in (
        f"{figures['prompts']} prompts",
        f"{figures['mean_iou']:.4f}",
        f"{figures['below_0.95']} masks are below 0.95",
        f"the worst at {figures['worst_iou']:.3f}",
    ):
        assert figure in paragraph.replace("\n", " "), figure


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_step_is_a_valid_manifest_and_the_field_table_is_complete() -> None:
    from sam2_block.blocks.segment.v1 import SegmentManifestV1

    step = json.loads(blocks("json")[0])
    SegmentManifestV1.model_validate(step)
    fields = SegmentManifestV1.model_fields
    rows = table("field")
    assert list(rows) == [name for name in fields if name not in ("type", "name")]
    for name, cells in rows.items():
        field, said = fields[name], cells[-1].strip("|` ")
        if field.is_required():
            assert said == "required"
        else:
            expected = "none" if field.default is None else field.default
            assert said == (expected if isinstance(expected, str) else json.dumps(expected))


def test_the_settings_table_is_complete() -> None:
    assert list(table("variable")) == [ENV_PREFIX + name.upper() for name in SETTING_NAMES]


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [text for text in blocks("python") if "Segmenter" in text]
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out == "(1, 480, 640)\n"


def test_the_pipeline_example_calls_what_exists() -> None:
    pipeline = pytest.importorskip("inference.core.interfaces.stream.inference_pipeline")
    import inspect

    (example,) = [text for text in blocks("python") if "InferencePipeline" in text]
    compile(example, "README.md", "exec")
    accepted = inspect.signature(pipeline.InferencePipeline.init_with_workflow).parameters
    used = re.findall(r"^    (\w+)=", example, flags=re.MULTILINE)
    assert used
    assert set(used) <= set(accepted)


def test_the_dockerfile_registers_the_plugin() -> None:
    (dockerfile,) = blocks("dockerfile")
    assert "ENV WORKFLOWS_PLUGINS=sam2_block\n" in dockerfile
