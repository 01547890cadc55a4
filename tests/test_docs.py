"""What the README and docs/ say can be run runs, and their tables are those of the code."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sam2_block.settings import ENV_PREFIX, SETTING_NAMES

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
SNIPPETS = [
    pytest.param(language, text, id=f"{page}-{number}")
    for page, content in PAGES.items()
    for number, (language, text) in enumerate(
        re.findall(r"```(\w+)\n(.*?)```", content, flags=re.DOTALL)
    )
]


def snippets(language: str) -> list[object]:
    return [one for one in SNIPPETS if one.values[0] == language]


def commands() -> list[list[str]]:
    lines = "\n".join(str(one.values[1]) for one in snippets("bash")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def table(page: str, first_column: str) -> dict[str, list[str]]:
    """Return the rows of the table with that heading, by the code in their first cell."""
    rows = PAGES[page].split(f"| {first_column} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0].strip("` "): row[1:] for row in cells}


def test_the_readme_is_read_in_a_minute() -> None:
    assert len(PAGES["README.md"].split()) <= 800


def test_the_two_commands_are_there() -> None:
    named = re.findall(r"scripts/(?:demo|test)\b", PAGES["README.md"])
    assert sorted(set(named)) == ["scripts/demo", "scripts/test"]
    assert all((ROOT / name).is_file() for name in named)


@pytest.mark.parametrize(
    "command", [one for one in commands() if one[0] == "sam2-block"], ids=" ".join
)
def test_commands_of_the_tool_parse(command: list[str]) -> None:
    from sam2_block.cli import make_parser
    from sam2_block.cli.examples import example_names

    arguments = make_parser().parse_args(command[1:])
    if command[1] == "run" and not arguments.workflow.suffix:
        assert arguments.workflow.name in example_names()


@pytest.mark.parametrize(("language", "text"), snippets("python"))
def test_python_runs_as_it_stands(
    language: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A comment behind `print` is what it prints, in every turn of a loop."""
    if "InferencePipeline" in text:  # wants a video; the test below holds what it calls
        compile(text, "docs", "exec")
        return
    exec(compile(text, "docs", "exec"), {})
    said = re.findall(r"print\(.*\)  # (.*)$", text, flags=re.MULTILINE)
    printed = list(dict.fromkeys(capsys.readouterr().out.splitlines()))
    assert printed == said


def test_the_pipeline_example_calls_what_exists() -> None:
    pipeline = pytest.importorskip("inference.core.interfaces.stream.inference_pipeline")
    (example,) = [
        str(one.values[1]) for one in snippets("python") if "InferencePipeline" in one.values[1]
    ]
    accepted = inspect.signature(pipeline.InferencePipeline.init_with_workflow).parameters
    used = re.findall(r"^    (\w+)=", example, flags=re.MULTILINE)
    assert used
    assert set(used) <= set(accepted)


def test_figures_of_half_precision_are_the_recorded() -> None:
    figures = json.loads((ROOT / "docs" / "precisions.json").read_text())["figures"]["all"]
    section = PAGES["docs/performance.md"].split("## Fidelity")[1].split("\n## ")[0]
    for figure in (
        f"{figures['prompts']} prompts",
        f"{figures['mean_iou']:.4f}",
        f"{figures['below_0.95']} masks are below 0.95",
        f"the worst at {figures['worst_iou']:.3f}",
    ):
        assert figure in section.replace("\n", " "), figure


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", PAGES[page]):
        path = folder / target if target else ROOT / page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor[1:] in slugs, anchor


def test_the_step_is_a_valid_manifest_and_the_field_table_is_complete() -> None:
    from sam2_block.blocks.segment.v1 import SegmentManifestV1

    SegmentManifestV1.model_validate(json.loads(str(snippets("json")[0].values[1])))
    fields = SegmentManifestV1.model_fields
    rows = table("README.md", "field")
    assert list(rows) == [name for name in fields if name not in ("type", "name")]
    for name, cells in rows.items():
        field, default = fields[name], cells[-1].strip("|` ")
        if field.is_required():
            assert default == "required"
        else:
            expected = "none" if field.default is None else field.default
            assert default == (expected if isinstance(expected, str) else json.dumps(expected))


def test_the_settings_table_is_complete() -> None:
    names = [ENV_PREFIX + name.upper() for name in SETTING_NAMES]
    assert list(table("docs/settings.md", "variable")) == names


def test_the_engines_texts_are_quoted_word_for_word() -> None:
    """Each in a process of its own: the engine reads its plugins once."""
    code = """if True:
        from roboflow_workflows.execution_engine.core import ExecutionEngine

        step = {"type": "sam2_block/segment@v1", "name": "s", "images": "$inputs.image"}
        image = {"type": "WorkflowImage", "name": "image"}
        try:
            definition = {"version": "1.0", "inputs": [image], "steps": [step], "outputs": []}
            ExecutionEngine.init(definition)
        except Exception as error:
            print(error, error.inner_error)
    """
    page = " ".join(PAGES["docs/troubleshooting.md"].replace("\n>", "").split())
    for plugins, quotes in (
        ("", ["Could not parse workflow definition. Details provided in inner error.",
              "Input tag 'sam2_block/segment@v1' found using 'type' does not match any of the"
              " expected tags"]),
        ("sam2_blok", ["It is not possible to load workflow plugin `sam2_block`. Make sure the"
                       " library providing custom step is correctly installed in Python"
                       " environment."]),
    ):  # fmt: skip
        environment = {**os.environ, "WORKFLOWS_PLUGINS": plugins}
        if not plugins:
            del environment["WORKFLOWS_PLUGINS"]
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        for quote in quotes:
            assert quote in page
            assert quote.replace("sam2_block`", "sam2_blok`") in done.stdout


def test_the_dockerfile_registers_the_plugin() -> None:
    (dockerfile,) = [str(one.values[1]) for one in snippets("dockerfile")]
    assert "ENV WORKFLOWS_PLUGINS=sam2_block\n" in dockerfile
