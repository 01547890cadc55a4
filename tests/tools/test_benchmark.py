"""The benchmark's arithmetic, its judgement of a collapse, and its quick form."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.append(str(TOOLS))

from benchmark import cli, cuda, neighbours, quick, report, servers  # noqa: E402
from benchmark.figures import Ratio, Spread, Tail, collapsed  # noqa: E402
from benchmark.jobs import (  # noqa: E402
    BUILT_IN,
    DEFAULT,
    META_BF16,
    META_FP32,
    OURS_BF16,
    OURS_FP32,
    SYSTEMS,
    Answer,
    Failure,
    Job,
)
from benchmark.markdown import number  # noqa: E402
from benchmark.pictures import make_boxes, make_image  # noqa: E402
from benchmark.places import Places  # noqa: E402
from benchmark.processes import WorkerProcess  # noqa: E402
from benchmark.table import ROWS, Cell, Measured, Row, measure  # noqa: E402


def test_spread() -> None:
    assert Spread.of([3, 1, 2]) == Spread(median=2, least=1, most=3)


def test_ratio_is_of_medians_and_its_spread_of_pairs() -> None:
    assert Ratio.of([10, 30, 20], [1, 6, 4]) == Ratio(medians=5, pairs=5, least=5, most=10)
    # One pair of three in which ours was held up.
    assert Ratio.of([9, 9, 9], [3, 3, 90]).pairs == 3


def test_a_ratio_collapses_below_half_of_the_recorded() -> None:
    recorded = {"fp32 a": 4.0, "fp32 b": 4.0, "bf16 a": 8.0, "fp32 gone": 1.0}
    measured = {"fp32 a": 2.0, "fp32 b": 1.99, "bf16 a": 1.0, "fp32 new": 0.1}
    (here_bf16, here_fp32) = collapsed(measured, recorded, same_machine=True)
    assert "bf16 a" in here_bf16
    assert "fp32 b" in here_fp32
    (elsewhere,) = collapsed(measured, recorded, same_machine=False)
    assert "fp32 b" in elsewhere


@pytest.mark.parametrize(
    ("value", "text"), [(123.4, "123"), (9.9999, "10"), (0.01234, "0.0123"), (1.5, "1.5")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_images_and_boxes_follow_from_their_seed() -> None:
    images = [make_image(seed, 90, 60) for seed in ([1, 2], [1, 2], [1, 3])]
    assert images[0].shape == (60, 90, 3)
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    boxes = make_boxes([4], 200, 1800, 1200)
    assert np.array_equal(boxes, make_boxes([4], 200, 1800, 1200))
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= (1800, 1200)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


class Recorded:
    """Stands in for a worker: writes down what it is asked, and answers with its `seconds`."""

    def __init__(self, seconds: float, fails_at: int = 1000) -> None:
        self.seconds, self.fails_at = seconds, fails_at
        self.jobs: list[Job] = []

    def ask(self, job: Job, timeout_s: float) -> Answer | Failure:
        self.jobs.append(job)
        if len(self.jobs) > self.fails_at:
            return Failure("needs more than 12.0 GiB")
        return Answer(self.seconds, 100, job.boxes, 50)


def test_a_new_image_is_new_in_every_turn_and_an_encoded_one_stays() -> None:
    for encoded in (False, True):
        row = Row("r", "r", Job(8, 8, 3, encoded=encoded))
        systems = {name: Recorded(1) for name in SYSTEMS}
        measured = measure(row, systems, 3, 7, lambda text: None)
        assert all(len(cell.seconds) == 3 for cell in measured.cells.values())
        jobs = systems[OURS_FP32].jobs
        assert all(system.jobs == jobs for system in systems.values())
        assert len(jobs) == 5  # one to warm up, one to count memory
        assert [job.counted for job in jobs] == [False, True, False, False, False]
        assert len({job.seed for job in jobs}) == (1 if encoded else 5)
        assert len({(job.seed, job.turn) for job in jobs}) == 5  # other boxes
        assert all(cell.added_bytes == [100] for cell in measured.cells.values())


def test_memory_is_counted_in_the_only_turn_of_a_long_row() -> None:
    ours = Recorded(1)
    row = Row("r", "r", Job(8, 8, 3, images=64), most_turns=1)
    measured = measure(row, {DEFAULT: ours}, 5, 7, lambda text: None)
    assert [(job.images, job.counted) for job in ours.jobs] == [(1, True), (64, True)]
    assert measured.cells[DEFAULT].added_bytes == [100]


def test_the_same_image_again_comes_after_a_new_one() -> None:
    ours = Recorded(2)
    row = Row("r", "r", Job(8, 8, 1), reach=20, again=True)
    measured = measure(row, {DEFAULT: ours}, 2, 7, lambda text: None)
    for first, second in zip(ours.jobs[::2], ours.jobs[1::2], strict=True):
        assert first.seed == second.seed
        assert first.turn != second.turn
        assert (first.encoded, second.encoded) == (False, True)
    assert measured.reached() == 1


def test_a_system_that_fails_is_asked_no_more_and_the_table_says_why() -> None:
    systems = {BUILT_IN: Recorded(9, fails_at=2), DEFAULT: Recorded(1)}
    measured = measure(ROWS[0], systems, 5, 7, lambda text: None)
    assert len(systems[BUILT_IN].jobs) == 3
    assert len(systems[DEFAULT].jobs) == 7
    assert measured.ratio(BUILT_IN, DEFAULT) is None
    text = report.rows({ROWS[0].name: measured.record()})
    assert "failed: needs more than 12.0 GiB" in text
    assert "not comparable" in text


def test_the_table_judges_time_and_memory() -> None:
    row = Row("r", "some work", Job(8, 8, 1), reach=3, memory_share=1 / 8)
    cells = {
        BUILT_IN: Cell([4.0], [700 * 2**20]),
        DEFAULT: Cell([1.0], [100 * 2**20]),
    }
    text = report.ratios([Measured(row, cells)])
    assert "**4.0x**" in text
    assert "3x: reached" in text
    assert "memory 1/8: **missed**" in text


def test_the_first_ratios_compare_one_precision() -> None:
    seconds = {BUILT_IN: 8.0, META_FP32: 6.0, OURS_FP32: 2.0, META_BF16: 1.5, OURS_BF16: 0.5}
    cells = {name: Cell([value], [2.0**20]) for name, value in seconds.items()}
    (line,) = report.ratios([Measured(ROWS[0], cells)]).splitlines()[2:]
    assert [cell.split("x**")[0].strip(" *") for cell in line.split("|")[2:6]] == [
        "4.0",  # fp32: the built-in block's over ours
        "3.0",  # fp32: Meta's
        "3.0",  # bf16: Meta's
        "16.0",  # of two precisions: last, and named so
    ]


def test_a_record_gives_back_what_was_measured() -> None:
    measured = Measured(ROWS[0], {DEFAULT: Cell([1.0, 2.0], [3.0], failure=None, area=4)})
    again = Measured.of_record(ROWS[0].name, json.loads(json.dumps(measured.record())))
    assert again == measured


def test_the_document_and_the_readme_are_made_of_the_record() -> None:
    docs = TOOLS.parent / "docs"
    sections = json.loads((docs / "benchmarks.json").read_text())
    assert (docs / "benchmarks.md").read_text() == report.document(sections)
    assert report.speed(sections["rows"]) in (TOOLS.parent / "docs" / "performance.md").read_text()


def test_processes_at_once_are_asked_about_new_images_and_their_rates_are_summed() -> None:
    fleets = [
        servers.Fleet(META_BF16, [Recorded(6.0) for _ in range(4)]),
        servers.Fleet(OURS_BF16, [Recorded(1.5), *(Recorded(3.0) for _ in range(3))]),
    ]
    servers.run(fleets, 2, 7, lambda text: None)
    assert fleets[1].rates == {1: [2.0] * 2, 2: [3.0] * 2, 4: [5.0] * 2}  # three images in a job
    first, second, third, _ = (worker.jobs for worker in fleets[1].workers)
    assert len(first) == len({job.seed for job in first}) == 7  # one to warm up
    assert (len(second), len(third)) == (5, 3)
    text = report.servers([{"system": x.system, "rates": x.rates} for x in fleets])
    assert "| Meta's predictor, bf16 autocast | 0.50 (0.50 to 0.50) | 1.00" in text


def test_requests_beside_other_work_are_as_many_as_wanted_and_failures_are_said() -> None:
    failing = Recorded(1.0, fails_at=0)
    systems = {META_BF16: Recorded(0.5), OURS_BF16: Recorded(0.25), OURS_FP32: failing}
    measured = neighbours.measure(systems, 3, 7, lambda text: None)
    assert len(measured) == 9  # three kinds of work, beside nothing and two kinds of neighbours
    for one in measured:
        assert one.seconds == {META_BF16: [0.5] * 3, OURS_BF16: [0.25] * 3}
        assert one.failures == {OURS_FP32: "needs more than 12.0 GiB"}
    new = [job.seed for job in systems[OURS_BF16].jobs if not job.encoded]
    assert len(set(new)) == 3 * 4  # beside each: three new ones, and one to warm up
    text = report.neighbours([vars(one) for one in measured])
    assert (
        "| two busy loops | failed: needs more than 12.0 GiB | 0.500 / 0.500 / 0.500 (3) | 0.250"
        in text
    )


def test_the_99th_percentile_is_a_time_that_was_seen() -> None:
    assert Tail.of([*range(1, 100), 500]) == Tail(50.5, 99, 500, 100)
    assert Tail.of([3.0, 9.0]) == Tail(6.0, 9.0, 9.0, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_dies_is_a_failure_that_says_so(tmp_path: Path) -> None:
    places = Places(tmp_path / "weights", tmp_path / "scratch")
    places.lay_out()
    worker = WorkerProcess(OURS_FP32, places, 32 * 2**20)  # not even numpy loads
    for _ in range(2):  # it is started anew, and fails anew
        answer = worker.ask(Job(8, 8, 1), 60)
        assert isinstance(answer, Failure)
        assert "does not start" in answer.why
    worker.end()


HERE = {"cpu": "a", "cores": 2, "flags": []}
FINE, HALF_LESS = {"fp32 new-1": 2.0, "bf16 new-1": 4.0}, {"fp32 new-1": 0.9, "bf16 new-1": 4.0}
RECORD = {"run": HERE, "figures": FINE}


@pytest.mark.parametrize(
    ("record", "measurements", "status"),
    [
        pytest.param(RECORD, [FINE], 0, id="as recorded"),
        pytest.param(RECORD, [HALF_LESS, FINE], 0, id="held up once"),
        pytest.param(RECORD, [HALF_LESS, HALF_LESS], 1, id="collapsed"),
        pytest.param(RECORD, [{**FINE, "bf16 new-1": 1.9}] * 2, 1, id="collapsed in bf16"),
        pytest.param(
            {**RECORD, "run": {**HERE, "cpu": "b"}},
            [{**FINE, "bf16 new-1": 1.9}],
            0,
            id="bf16 on another machine",
        ),
        pytest.param(None, [HALF_LESS], 0, id="nothing recorded"),
    ],
)
def test_a_collapse_is_one_in_two_measurements(
    record: dict[str, Any] | None, measurements: list[dict[str, float]], status: int
) -> None:
    waiting, said = list(measurements), list[str]()
    assert quick.judge(lambda: waiting.pop(0), HERE, record, said.append) == status
    assert waiting == []
    assert any("COLLAPSED" in text for text in said) == bool(status)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("slower", "status"), [(1, 0), (3, 1)])
def test_the_quick_form_is_compared_with_the_record(
    slower: float, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = json.loads((TOOLS.parent / "docs" / "benchmarks.json").read_text())
    # Of every pair as recorded, or slower, instead of measuring.
    ratios = {name: ratio / slower for name, ratio in recorded["quick"]["figures"].items()}
    monkeypatch.setattr(quick, "measure_quick", lambda *arguments: ratios)
    monkeypatch.setattr(cli, "write_random_weights", lambda folder: None)
    assert cli.main(["--quick"]) == status


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_without_a_gpu_its_rows_end_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^--device cuda needs a CUDA device: [^\n]*$"):
        cli.main(["--device", "cuda", "--rows", "new-1"])


@pytest.mark.parametrize("option", ["--record", "--quick"])
def test_a_gpus_rows_are_not_recorded(option: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["--device", "cuda", option])


def test_a_worker_for_a_gpu_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    environment = {**Places(tmp_path, tmp_path).environment("fp32"), **cuda.variables()}
    assert environment["SAM2_BLOCK_DEVICE"] == "cuda"
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"


def test_rows_on_a_gpu_are_measured_in_turns_and_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Worker(Recorded):
        def __init__(self, name: str, places: Places, limit: int, variables: Any) -> None:
            super().__init__(0.25 if name == OURS_FP32 else 0.5)

        def end(self) -> None:
            pass

    monkeypatch.setattr(cuda, "WorkerProcess", Worker)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a GPU")
    text = cuda.measure_rows(ROWS[:2], [META_FP32, OURS_FP32], 2, tmp_path, lambda _: None)
    assert "Seconds on a GPU" in text
    rows = text.strip().splitlines()[-2:]
    assert [("0.5" in row, "0.25" in row) for row in rows] == [(True, True)] * 2
