from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv

from sam2_block import Segmenter
from sam2_block.backends import source
from sam2_block.backends.fake import FakeBackend
from sam2_block.backends.protocol import ReadyPrediction
from sam2_block.errors import ImageError, OptionError, PromptError, SettingsError
from sam2_block.masks import EMPTY_MASK, CroppedMask
from sam2_block.masks.compact import CompactMasks
from sam2_block.settings import MaskForm

Make = Callable[[], sv.Detections]
PHOTO = np.zeros((100, 200, 3), dtype=np.uint8)


class ScriptedBackend:
    """Answers the prompts of all calls, one after the other, with the scores and shapes given."""

    concurrent_images = 1

    def __init__(self, scores: Sequence[float], shapes: Sequence[CroppedMask] = ()) -> None:
        shapes = shapes or [square(index) for index in range(len(scores))]
        self.answers = [ReadyPrediction(*answer) for answer in zip(scores, shapes, strict=True)]
        self.calls: list[dict[str, Any]] = []

    def predict(self, image: np.ndarray, prompts: Sequence[Any], **options: Any) -> list:
        self.calls.append({"image": image, "prompts": list(prompts), **options})
        taken, self.answers = self.answers[: len(prompts)], self.answers[len(prompts) :]
        return taken


def square(index: int) -> CroppedMask:
    """Three by three pixels, at a place of its own for each index."""
    return CroppedMask(np.ones((3, 3), dtype=np.bool_), x=10 * index, y=5)


def boxes(*xyxy: Sequence[float], **columns: Any) -> sv.Detections:
    return sv.Detections(xyxy=np.array(xyxy, dtype=np.float32).reshape(-1, 4), **columns)


A, B, OUTSIDE = (10, 20, 30, 60), (100, 10, 150, 90), (300, 10, 350, 90)


@pytest.mark.parametrize("count", [1, 3])
def test_a_backend_that_predicts_too_few_or_too_many_masks_is_an_error(count: int) -> None:
    class Miscounting(FakeBackend):
        def predict(self, image: Any, prompts: Any, **options: Any) -> list[ReadyPrediction]:
            return [ReadyPrediction(0.9, EMPTY_MASK)] * count

    with pytest.raises(ValueError, match="zip"):
        Segmenter("demo", backend=Miscounting()).segment(PHOTO, boxes(A, OUTSIDE, B))


def test_one_row_a_box_in_order_then_one_a_point_object() -> None:
    backend = ScriptedBackend([0.1, 0.9, 0.5, 0.7])
    rows = Segmenter("demo", backend=backend).segment(
        PHOTO, boxes(B, A), points=[[(5, 6)], [(7, 8), (9, 9, False)]]
    )
    (call,) = backend.calls
    assert [prompt.box_xyxy for prompt in call["prompts"]] == [B, A, None, None]
    assert [len(prompt.points) for prompt in call["prompts"]] == [0, 0, 1, 2]
    assert rows.data["sam2_score"].tolist() == pytest.approx([0.1, 0.9, 0.5, 0.7])
    assert rows.mask.shape == (4, 100, 200)
    assert rows.mask.dtype == np.bool_
    for index, mask in enumerate(rows.mask):
        assert mask[5:8, 10 * index : 10 * index + 3].all()
        assert mask.sum() == 9
    np.testing.assert_array_equal(rows.xyxy, sv.mask_to_xyxy(rows.mask))


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize(("masks", "kind"), [("dense", np.ndarray), ("compact", CompactMasks)])
def test_the_caller_chooses_the_form_of_masks(
    masks: MaskForm, kind: type, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = boxes(*[A] * count)
    by_argument = Segmenter("demo", backend=FakeBackend(), masks=masks)
    monkeypatch.setenv("SAM2_BLOCK_MASKS", masks)
    by_setting = Segmenter("demo", backend=FakeBackend())
    for segmenter in (by_argument, by_setting):
        rows = segmenter.segment(PHOTO, given)
        assert type(rows.mask) is kind
        assert rows.mask.shape == (count, 100, 200)
        assert rows.mask.sum() == 800 * count
    other: MaskForm = "compact" if masks == "dense" else "dense"
    rows = Segmenter("demo", backend=FakeBackend(), masks=other).segment(PHOTO, given)
    assert type(rows.mask) is not kind


def test_a_server_is_asked_for_masks_of_that_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "choose_backend", lambda *args, **options: FakeBackend())
    remote = Segmenter.remote("hiera_tiny", api_url="http://localhost:9001", masks="compact")
    assert isinstance(remote.segment(PHOTO, boxes(A)).mask, CompactMasks)


def test_a_form_of_masks_that_there_is_not() -> None:
    with pytest.raises(SettingsError, match="expected one of auto, dense, compact; got 'sparse'"):
        Segmenter("demo", backend=FakeBackend(), masks="sparse")


def test_backend_is_asked_with_the_options_and_the_bare_image() -> None:
    backend = ScriptedBackend([0.5])
    bgra = np.dstack([PHOTO, PHOTO[..., :1]])
    Segmenter("sam2.1_hiera_small", backend=backend).segment(bgra, boxes(A), multimask_output=False)
    (call,) = backend.calls
    assert call["version"] == "sam2.1_hiera_small"
    assert call["multimask_output"] is False
    assert call["image"].shape == (100, 200, 3)


def test_box_outside_keeps_its_row_with_an_empty_mask() -> None:
    backend = ScriptedBackend([0.6, 0.8])
    rows = Segmenter("demo", backend=backend).segment(PHOTO, boxes(A, OUTSIDE, B))
    # It is not asked about, and the others keep their answers.
    assert [prompt.box_xyxy for prompt in backend.calls[0]["prompts"]] == [A, B]
    assert rows.data["sam2_score"].tolist() == pytest.approx([0.6, 0.0, 0.8])
    assert rows.mask.any(axis=(1, 2)).tolist() == [True, False, True]
    assert rows.xyxy[1].tolist() == [200, 10, 200, 90]  # inside the image
    assert rows.confidence[1] == 0


def test_box_outside_is_an_error_on_request() -> None:
    backend = ScriptedBackend([])
    with pytest.raises(PromptError, match=r"^box 1: \[300, 10, 350, 90\] has no area inside"):
        Segmenter("demo", backend=backend).segment(PHOTO, boxes(A, OUTSIDE), invalid_boxes="error")
    assert backend.calls == []


INVALID = [
    OUTSIDE,
    (-40, -30, -10, -5),
    (5, 5, 5, 5),
    (30, 60, 10, 20),
    (np.nan, 10, 30, 60),
    (np.nan,) * 4,
    (10, 20, np.inf, 60),
    (-np.inf, 20, 30, 60),
    (10, 20, 30, 1e39),
    (10, 20, 1e300, 60),
]


@pytest.mark.parametrize("box", INVALID)
def test_invalid_box_keeps_a_row_with_a_box_inside_the_image(box: tuple[float, ...]) -> None:
    detections = sv.Detections(xyxy=np.array([A, box, B], dtype=np.float64))
    backend = ScriptedBackend([0.6, 0.8])
    rows = Segmenter("demo", backend=backend).segment(PHOTO, detections)
    assert [prompt.box_xyxy for prompt in backend.calls[0]["prompts"]] == [A, B]
    assert rows.data["sam2_score"].tolist() == pytest.approx([0.6, 0.0, 0.8])
    assert rows.mask.any(axis=(1, 2)).tolist() == [True, False, True]
    left, top, right, bottom = rows.xyxy[1].tolist()
    assert 0 <= left <= right <= 200
    assert 0 <= top <= bottom <= 100


@pytest.mark.parametrize("box", INVALID)
def test_invalid_box_is_dropped_on_request(box: tuple[float, ...]) -> None:
    detections = sv.Detections(
        xyxy=np.array([box, A, box, B], dtype=np.float64),
        data={"detection_id": np.array(list("abcd")), "class_name": np.array(list("wxyz"))},
    )
    backend = ScriptedBackend([0.6, 0.7, 0.8])
    rows = Segmenter("demo", backend=backend).segment(
        PHOTO, detections, points=[[5, 5]], class_filter=["w", "x", "z"], invalid_boxes="drop"
    )
    assert rows.data["prompt_detection_id"].tolist() == ["b", "d", ""]
    assert rows.data["sam2_score"].tolist() == pytest.approx([0.6, 0.7, 0.8])
    assert rows.mask.shape == (3, 100, 200)


@pytest.mark.parametrize("box", INVALID)
def test_invalid_box_is_an_error_on_request(box: tuple[float, ...]) -> None:
    backend = ScriptedBackend([])
    detections = sv.Detections(xyxy=np.array([A, box], dtype=np.float64))
    with pytest.raises(PromptError, match=r"^box 1: \[.*Set invalid_boxes to 'empty' .* 'drop'"):
        Segmenter("demo", backend=backend).segment(PHOTO, detections, invalid_boxes="error")
    assert backend.calls == []


def test_nothing_but_invalid_boxes_dropped_is_an_empty_result() -> None:
    backend = ScriptedBackend([])
    rows = Segmenter("demo", backend=backend).segment(
        PHOTO, boxes(OUTSIDE, OUTSIDE), invalid_boxes="drop"
    )
    assert (len(rows), rows.mask.shape, backend.calls) == (0, (0, 100, 200), [])


def test_empty_mask_of_a_box_over_the_border_has_the_part_inside() -> None:
    rows = Segmenter("demo", backend=ScriptedBackend([0.6], [EMPTY_MASK])).segment(
        PHOTO, boxes((-10, 20, 30, 600))
    )
    assert rows.xyxy.tolist() == [[0, 20, 30, 100]]


def test_nothing_but_boxes_outside_asks_nothing() -> None:
    backend = ScriptedBackend([])
    rows = Segmenter("demo", backend=backend).segment(PHOTO, boxes(OUTSIDE, (5, 5, 5, 5)))
    assert (len(rows), backend.calls) == (2, [])
    assert not rows.mask.any()


def test_empty_mask_keeps_its_row_with_the_box_of_the_prompt() -> None:
    backend = ScriptedBackend([0.6, 0.7], [EMPTY_MASK, EMPTY_MASK])
    rows = Segmenter("demo", backend=backend).segment(
        PHOTO, boxes(A), points=[(7, 8), (3, 9, False)]
    )
    assert rows.xyxy.tolist() == [list(A), [7, 8, 7, 8]]
    assert rows.mask.shape == (2, 100, 200)
    assert not rows.mask.any()
    assert rows.data["sam2_score"].tolist() == pytest.approx([0.6, 0.7])


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (0, [0, 1, 2, 3]),
        pytest.param(0.3, [0, 2, 3], id="equal to the score is enough"),
        (0.8, [0]),
        (1, []),
        pytest.param(1e-6, [0, 1, 2, 3], id="the box outside has score 0"),
    ],
)
def test_threshold_leaves_out_rows_and_shifts_none(threshold: float, kept: list[int]) -> None:
    scores = [0.8, 0.1, 0.3, 0.7]
    rows = Segmenter("demo", backend=ScriptedBackend(scores)).segment(
        PHOTO,
        boxes(A, A, B, B, OUTSIDE, data={"detection_id": np.array(list("abcde"))}),
        threshold=threshold,
    )
    outside = [4] if threshold == 0 else []
    expected = kept + outside
    assert rows.data["prompt_detection_id"].tolist() == ["abcde"[index] for index in expected]
    np.testing.assert_array_equal(rows.xyxy[: len(kept), 0], [10 * index for index in kept])
    assert rows.mask.shape == (len(expected), 100, 200)
    assert rows.data["sam2_score"][: len(kept)].tolist() == pytest.approx(
        [scores[index] for index in kept]
    )


def test_class_filter_drops_boxes_and_never_points(coin_detections: Make) -> None:
    backend = ScriptedBackend([0.5, 0.6, 0.7])
    rows = Segmenter("demo", backend=backend).segment(
        PHOTO, coin_detections()[:3], points=[(5, 5)], class_filter=["coin"]
    )
    assert len(backend.calls[0]["prompts"]) == 3
    assert rows.data["class_name"].tolist() == ["coin", "coin", "foreground"]
    assert rows.data["prompt_detection_id"].tolist() == ["id-0", "id-2", ""]
    assert rows.data["sam2_score"].tolist() == pytest.approx([0.5, 0.6, 0.7])


@pytest.mark.parametrize(
    ("source", "confidence"),
    [("sam", [0.25, 0.5, 0.75]), ("detector", [0.9, 0.8, 0.75])],
)
def test_confidence_source(coin_detections: Make, source: str, confidence: list[float]) -> None:
    rows = Segmenter("demo", backend=ScriptedBackend([0.25, 0.5, 0.75])).segment(
        PHOTO, coin_detections()[:2], points=[(5, 5)], confidence_source=source
    )
    assert rows.confidence.tolist() == pytest.approx(confidence)
    assert rows.data["sam2_score"].tolist() == [0.25, 0.5, 0.75]


def test_detector_without_confidence_gets_that_of_sam() -> None:
    rows = Segmenter("demo", backend=ScriptedBackend([0.25])).segment(
        PHOTO, boxes(A), confidence_source="detector"
    )
    assert rows.confidence.tolist() == [0.25]


@pytest.mark.parametrize("given", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("source", ["sam", "detector"])
def test_confidence_is_always_a_number(given: float, source: str) -> None:
    detections = boxes(A, B, confidence=np.array([given, 0.5]))
    rows = Segmenter("demo", backend=ScriptedBackend([0.25, 0.75])).segment(
        PHOTO, detections, confidence_source=source
    )
    assert rows.confidence.tolist() == [0.25, 0.5 if source == "detector" else 0.75]


def test_coco_to_masks_to_coco_has_the_areas_of_the_masks(tmp_path: Path) -> None:
    photo = str(tmp_path / "photo.png")
    annotation = {
        **{"id": 1, "image_id": 1, "category_id": 0, "bbox": [10, 20, 20, 40]},
        **{"area": 7.0, "iscrowd": 0, "segmentation": [[10, 20, 12, 20, 12, 22]]},
    }
    image = {"id": 1, "file_name": "photo.png", "width": 200, "height": 100}
    (tmp_path / "in.json").write_text(
        json.dumps(
            {
                "images": [image],
                "categories": [{"id": 0, "name": "cat"}],
                "annotations": [annotation],
            }
        )
    )
    dataset = sv.DetectionDataset.from_coco(
        str(tmp_path), str(tmp_path / "in.json"), force_masks=False
    )
    ((path, given),) = dataset.annotations.items()
    assert {"area", "iscrowd"} <= given.data.keys()
    rows = Segmenter("demo", backend=FakeBackend()).segment(PHOTO, given)
    assert not {"area", "iscrowd"} & rows.data.keys()
    assert cv2.imwrite(photo, PHOTO)
    out = tmp_path / "out.json"
    sv.DetectionDataset(dataset.classes, [path], {path: rows}).as_coco(annotations_path=str(out))
    (written,) = json.loads(out.read_text())["annotations"]
    assert written["area"] == rows.mask.sum() == 20 * 40


def test_identity_goes_through(coin_detections: Make, coins: np.ndarray) -> None:
    detections = coin_detections()
    rows = Segmenter("demo", backend=FakeBackend()).segment(coins, detections)
    np.testing.assert_array_equal(rows.class_id, detections.class_id)
    np.testing.assert_array_equal(rows.tracker_id, detections.tracker_id)
    for name in detections.data.keys() - {"detection_id"}:
        np.testing.assert_equal(rows.data[name], detections.data[name], name)


@pytest.mark.parametrize(
    "detections",
    [
        pytest.param(sv.Detections.empty(), id="empty"),
        pytest.param(boxes(class_id=np.empty(0, dtype=int)), id="no rows"),
        pytest.param(None, id="no detections at all"),
    ],
)
def test_no_prompts_no_call_and_a_typed_answer(detections: sv.Detections | None) -> None:
    backend = ScriptedBackend([])
    rows = Segmenter("demo", backend=backend).segment(PHOTO, detections, points=[])
    assert (len(rows), backend.calls) == (0, [])
    assert (rows.mask.shape, rows.mask.dtype) == ((0, 100, 200), np.bool_)
    assert rows.data["sam2_score"].dtype == np.float32
    assert rows.data["class_name"].dtype.kind == "U"


@pytest.mark.parametrize("points", [None, [(5, 5)]])
def test_input_is_never_changed(coin_detections: Make, coins: np.ndarray, points: Any) -> None:
    detections = coin_detections()
    detections.mask = np.ones((4, 303, 384), dtype=np.bool_)
    detections.data["rle_mask"] = np.array([{"size": [1, 1]}] * 4, dtype=object)
    before = copy.deepcopy(detections)
    rows = Segmenter("demo", backend=FakeBackend()).segment(coins, detections, points=points)
    rows.xyxy += 1
    rows.confidence += 1
    rows.mask[:] = False
    np.testing.assert_equal(vars(detections), vars(before))


def test_image_that_cannot_be_written_to_is_fine(coins: np.ndarray) -> None:
    assert not coins.flags.writeable
    assert len(Segmenter("demo", backend=FakeBackend()).segment(coins[..., 0], boxes(A))) == 1


def test_bad_image_is_refused_before_the_backend_is_asked() -> None:
    backend = ScriptedBackend([])
    with pytest.raises(ImageError, match="got float64 of shape"):
        Segmenter("demo", backend=backend).segment(np.zeros((3, 3, 3)), boxes(A))
    assert backend.calls == []


def test_segmenter_refuses_unknown_versions_and_bad_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OptionError, match="got 'huge'"):
        Segmenter("huge")
    monkeypatch.setenv("SAM2_BLOCK_DEVICE", "gpu")
    with pytest.raises(SettingsError, match="SAM2_BLOCK_DEVICE"):
        Segmenter("demo")


def test_an_error_names_the_box_by_its_place_before_the_filter() -> None:
    detections = boxes(A, (1, np.nan, 2, 3), data={"class_name": np.array(["a", "b"])})
    with pytest.raises(PromptError, match=r"^box 1: "):
        Segmenter("demo", backend=FakeBackend()).segment(
            PHOTO, detections, class_filter=["b"], invalid_boxes="error"
        )


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.zeros((1, 5)), r"got shape \(1, 5\)"),
        (np.zeros(3), r"got shape \(3,\)"),
        ({"predictions": []}, r"got \{'predictions': \[\]\}\. Pass its boxes"),
        ([["1", "2", "3", "x"]], "got "),
        ([[1, 2, 3, 4], [1, 2]], "got "),
    ],
)
def test_what_is_no_boxes(boxes: Any, message: str) -> None:
    expected = r"^boxes: expected sv\.Detections, or \(N, 4\) numbers: .*" + message
    with pytest.raises(PromptError, match=expected):
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO, boxes)


def as_tensor(values: Any) -> Any:
    import torch

    return torch.tensor(values)


@pytest.mark.parametrize("form", [list, tuple, np.array, as_tensor])
def test_boxes_in_any_form(form: Any) -> None:
    backend = FakeBackend()
    segmenter = Segmenter("demo", backend=backend)
    many = segmenter.segment(PHOTO, form([list(A), [5, 5, 20, 20]]))
    one = segmenter.segment(PHOTO, boxes=form(list(A)))
    expected = segmenter.segment(PHOTO, detections=boxes(A))
    assert len(many) == 2
    np.testing.assert_array_equal(one.mask, expected.mask)
    np.testing.assert_array_equal(many.mask[:1], expected.mask)
    assert len(segmenter.segment(PHOTO, form([]))) == 0


def test_boxes_of_other_libraries() -> None:
    """As docs/python.md says: of Transformers through supervision, of torchvision as they are."""
    segmenter = Segmenter("demo", backend=FakeBackend())
    outputs = {
        "boxes": as_tensor([list(map(float, A))]),
        "scores": as_tensor([0.75]),
        "labels": as_tensor([1]),
    }
    of_torchvision = segmenter.segment(PHOTO, outputs["boxes"])
    rows = sv.Detections.from_transformers(outputs, {1: "cat"})
    of_transformers = segmenter.segment(PHOTO, rows, confidence_source="detector")
    np.testing.assert_array_equal(of_torchvision.mask, of_transformers.mask)
    assert of_transformers["class_name"].tolist() == ["cat"]
    assert of_transformers.confidence.tolist() == [0.75]


def test_no_prompt_at_all() -> None:
    with pytest.raises(PromptError, match=r"^no prompt: give boxes or points\.$"):
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO)
    with pytest.raises(OptionError, match="two names of one argument"):
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO, boxes(A), detections=boxes(A))


@pytest.mark.parametrize(
    ("rows", "class_filter", "message"),
    [
        (boxes((0.1, 0.2, 0.5, 0.9)), None, "multiply them by its width and height"),
        (boxes((50, 60, 20, 30), (40, 40, 10, 10)), None, r"2 of 2 .*sv\.xywh_to_xyxy"),
        (boxes(A, A, (1, np.nan, 2, 3)), None, "^boxes: some have no area inside the image"),
        (boxes(A, (900, 900, 950, 950)), None, "^boxes: some have no area inside the image"),
        (boxes((900, 900, 950, 950)), None, "all 1 lie outside the image, 200 wide and 100 high"),
        (
            boxes(A, A, data={"class_name": np.array(["coin", "cup"])}),
            ["Coin"],
            "selects 0 of 2 boxes; the classes here are coin, cup",
        ),
    ],
)
def test_doubtful_boxes_are_warned_of(rows: Any, class_filter: Any, message: str) -> None:
    with pytest.warns(UserWarning, match=message) as caught:
        Segmenter("demo", backend=FakeBackend()).segment(PHOTO, rows, class_filter=class_filter)
    assert caught[0].filename == __file__


def test_ordinary_boxes_are_not(recwarn: pytest.WarningsRecorder) -> None:
    Segmenter("demo", backend=FakeBackend()).segment(PHOTO, boxes(A, (150, 60, 250, 95)))
    assert not recwarn.list


def test_more_masks_than_memory_holds_is_said_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError

    backend = FakeBackend()
    monkeypatch.setattr("sam2_block.segmentation.np.zeros", refuse)
    with pytest.raises(PromptError, match=r"1 masks of 200x100 pixels take 0 GiB.*fewer objects"):
        Segmenter("demo", backend=backend).segment(PHOTO, boxes(A))
    assert backend.calls == []
