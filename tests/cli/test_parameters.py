"""What `--param NAME=VALUE` is read as."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from sam2_block.cli.parameters import parameter, parameter_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # JSON.
        ("5", 5),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('[[1, 2, "a"]]', [[1, 2, "a"]]),
        ('{"x": 1}', {"x": 1}),
        # Numbers and words as people type them.
        (".5", 0.5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+5", 5),
        ("+.5e-1", 0.05),
        (" .5 ", 0.5),
        ("True", True),
        ("FALSE", False),
        ("None", None),
        # Lists and dicts in Python's notation.
        ("[[1, 2, True]]", [[1, 2, True]]),
        ("[{'x': .5, 'positive': False}]", [{"x": 0.5, "positive": False}]),
        ("[(1, 2)]", [[1, 2]]),
        # Text.
        ("", ""),
        ("yes", "yes"),
        ("'text'", "'text'"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("2024-01", "2024-01"),
        ("1,5", "1,5"),
        ("0x10", "0x10"),
        ("\u0665", "\u0665"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("+1e999", "+1e999"),
        ("[1e999]", "[1e999]"),
        ("[NaN]", "[NaN]"),
        ("a=b", "a=b"),
        ("[draft] one", "[draft] one"),
        ("[b'x']", "[b'x']"),
        ("{1, 2}", "{1, 2}"),
        ("[__import__('os')]", "[__import__('os')]"),
        ("[" * 100_000, "[" * 100_000),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_values(text: str, value: Any) -> None:
    read = parameter_value(text)
    assert read == value
    assert type(read) is type(value)
    assert parameter(f"name={text}") == ("name", value)


@pytest.mark.parametrize("argument", ["name", "=5", ""])
def test_a_parameter_without_a_name_or_a_value(argument: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE; got"):
        parameter(argument)
