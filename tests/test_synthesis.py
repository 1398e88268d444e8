"""The synthetic class: reproducible people, a lognormal pen, truth that lies where the picture says."""

import json
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest

from sigen_utils.__main__ import main
from sigen_utils.data import DataError, load_signatures
from sigen_utils.synthesis import (
    CrowdConfig,
    SynthesisConfig,
    clean_signatures,
    draw_crowd,
    make_writer,
    render_sheet,
    synthesize,
)
from sigen_utils.synthesis.forms import FORMS
from sigen_utils.synthesis.kinematics import Plan, lognormal_parameters, move, plan_movement, progress, stroke_speed
from sigen_utils.synthesis.sheet import signature_strokes
from sigen_utils.synthesis.writers import NAMED, vary, with_surname

CLASS = SynthesisConfig(people=7, rows_per_sheet=4, seed=3, first_id=37)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheets")
    photos = synthesize(folder, CLASS, progress=None, workers=1)
    return folder, photos, json.loads((folder / "truth.json").read_text())["sheets"]


def test_same_seed_same_bytes(sheets, tmp_path):
    folder, photos, _ = sheets
    lines = []
    again = synthesize(tmp_path, CLASS, progress=lines.append, workers=2)
    assert [p.name for p in again] == ["sheet_01.jpg", "sheet_02.jpg"] and len(lines) == 3
    for name in ("sheet_01.jpg", "sheet_02.jpg", "masks/sheet_01.png", "truth.json"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_only_whole_files_are_left(sheets):
    folder, _, _ = sheets
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert names == ["masks/sheet_01.png", "masks/sheet_02.png", "sheet_01.jpg", "sheet_02.jpg", "truth.json"]


def test_person_does_not_depend_on_the_class():
    few, many = SynthesisConfig(people=40), SynthesisConfig(people=400, rows_per_sheet=25)
    for person in (1, 37):
        a, b = make_writer(few, person), make_writer(many, person)
        assert a.name == b.name and a.hand == b.hand and a.pen == b.pen
        for (xy, _, _), (other, _, _) in zip(signature_strokes(few, a, 2), signature_strokes(many, b, 2), strict=True):
            np.testing.assert_array_equal(xy, other)
    assert make_writer(few, 1).hand != make_writer(few, 2).hand
    assert make_writer(replace(few, seed=1), 1).hand != make_writer(few, 1).hand


def test_truth_lies_in_the_picture_and_in_order(sheets):
    folder, photos, truth = sheets
    assert [s["file"] for s in truth] == [p.name for p in photos]
    assert [i for s in truth for i in s["ids"]] == [str(k) for k in range(37, 44)]
    for sheet in truth:
        photo = cv2.imread(str(folder / sheet["file"]))
        width, height = sheet["size"]
        assert photo.shape == (height, width, 3)
        points = np.array(sheet["points"])
        assert points.shape == (len(sheet["ids"]) + 1, CLASS.per_person + 2, 2)
        assert points.min() >= 0 and (points <= [width - 1, height - 1]).all()
        assert (np.diff(points[..., 1], axis=0) > 40).all() and (np.diff(points[..., 0], axis=1) > 40).all()
        assert len(sheet["cells"]) == len(sheet["ids"]) * CLASS.per_person
        for cell in sheet["cells"]:
            row, col = cell["row"], cell["col"]
            assert cell["person_id"] == sheet["ids"][row] and 1 <= col <= CLASS.per_person
            corners = [points[row, col], points[row, col + 1], points[row + 1, col + 1], points[row + 1, col]]
            np.testing.assert_array_equal(cell["quad"], corners)


def test_ruled_lines_are_where_the_truth_says(sheets):
    folder, _, truth = sheets
    grey = cv2.imread(str(folder / "sheet_01.jpg"), cv2.IMREAD_GRAYSCALE).astype(float)
    points = np.array(truth[0]["points"])
    for row in range(1, len(points) - 1):  # inner row lines, at the middle of the ID column, which nobody signs
        x, y = np.rint((points[row, 0] + points[row, 1]) / 2).astype(int)
        profile = grey[y - 9 : y + 10, x - 4 : x + 5].mean(1)
        assert abs(int(profile.argmin()) - 9) <= 1
        assert profile.min() < 0.75 * np.median(profile)


def test_masks_are_dark_and_near_their_cell(sheets):
    folder, _, truth = sheets
    for sheet in truth:
        grey = cv2.imread(str(folder / sheet["file"])).min(axis=2).astype(float)
        label = cv2.imread(str(folder / sheet["cells"][0]["mask_file"]), cv2.IMREAD_UNCHANGED)
        assert label.shape == grey.shape
        assert set(np.unique(label)) == {0} | {c["mask_value"] for c in sheet["cells"]}
        for cell in sheet["cells"]:
            ys, xs = np.nonzero(label == cell["mask_value"])
            (x0, y0), (x1, y1) = np.min(cell["quad"], axis=0), np.max(cell["quad"], axis=0)
            inside = (xs > x0) & (xs < x1) & (ys > y0) & (ys < y1)
            assert len(xs) > 60 and inside.mean() > 0.6
            paper = np.median(grey[int(y0) : int(y1), int(x0) : int(x1)])
            assert np.median(grey[ys, xs]) < 0.8 * paper


def test_turn_moves_truth_with_the_picture(sheets):
    upright, _, truth = render_sheet(CLASS, 1)
    turned, label, other = render_sheet(replace(CLASS, turn=1), 1)
    np.testing.assert_array_equal(turned, np.rot90(upright))
    assert other["size"] == truth["size"][::-1] and label.shape == turned.shape[:2]
    for (x, y), (u, v) in zip(truth["points"][2], other["points"][2], strict=True):
        assert abs(u - y) < 0.02 and abs(v - (truth["size"][0] - 1 - x)) < 0.02


def _one_stroke(distance=50.0, theta=0.3, bend=0.8, sigma=0.25):
    start, duration = np.array([0.1]), np.array([0.3])
    onset, mu = lognormal_parameters(start, duration, np.array([sigma]))
    one = np.ones(1)
    return Plan(np.zeros(2), distance * one, onset, mu, sigma * one, (theta - bend / 2) * one, (theta + bend / 2) * one,
                np.zeros(1, int), start, start + duration)  # fmt: skip


def test_stroke_is_lognormal():
    plan = _one_stroke()
    t = np.linspace(0, 1.5, 200_001)
    speed = stroke_speed(plan, t)[0]
    step = t[1] - t[0]
    assert np.isclose(speed.sum() * step, 50.0, rtol=1e-4)  # area = D
    mode = plan.onset + np.exp(plan.mu - plan.sigma**2)
    assert abs(t[speed.argmax()] - mode[0]) < 1e-4
    lasting = (t >= plan.start[0]) & (t <= plan.end[0])
    assert 0.98 < speed[lasting].sum() * step / 50.0 < 1.0
    np.testing.assert_allclose(np.cumsum(speed)[::5000] * step, 50.0 * progress(plan, t)[0][::5000], atol=0.02)


def test_movement_integrates_the_strokes():
    plan = _one_stroke()
    path = move(replace(plan, end=plan.end + 2.0), dt=0.0005)
    # a circular arc of length D and turn 0.8: its chord is D sin(.4) / .4, in the middle direction
    end = 50.0 * np.sin(0.4) / 0.4 * np.array([np.cos(0.3), np.sin(0.3)])
    np.testing.assert_allclose(path.xy[-1], end, atol=1e-3)
    np.testing.assert_allclose(path.speed[50:-50], stroke_speed(plan, path.t)[0][50:-50], atol=3.0)


def test_pen_reaches_every_component():
    """Without motor noise strokes add up to the planned displacement, so that each component ends where it should."""
    config = SynthesisConfig(variation=0.0)
    writer = make_writer(config, 5)
    components = vary(writer, np.random.default_rng(0), 0.0)
    path = move(plan_movement(components, writer.hand, np.random.default_rng(0), 0.0))
    assert path.component.max() == len(components) - 1
    for k, (points, _) in enumerate(components):
        assert np.hypot(*(path.xy[path.component == k] - points[-1]).T).min() < 4.0
    end = components[-1][0][-1]
    assert np.hypot(*(path.xy[-1] - end)) < 1.0
    assert (path.speed >= 0).all() and np.isfinite(path.xy).all()


def test_people_differ_more_than_signatures():
    config = SynthesisConfig(people=24)
    images, labels = clean_signatures(config)
    assert images.shape == (96, 128, 128) and images.dtype == np.uint8 and images.max() == 255
    assert sorted(set(labels)) == list(range(1, 25))
    soft = np.array([cv2.resize(cv2.GaussianBlur(i, (0, 0), 4), (32, 32)) for i in images], float).reshape(96, -1)
    distance = np.sqrt(((soft[:, None] - soft[None]) ** 2).sum(-1))
    same = labels[:, None] == labels[None]
    own = distance[same & ~np.eye(96, dtype=bool)]
    assert own.min() > 0
    assert own.mean() < 0.75 * distance[~same].mean()
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(1)] == labels).mean() > 0.75


def test_every_form_of_signature_can_be_drawn():
    forms = {make_writer(SynthesisConfig(), person).form for person in range(1, 80)}
    assert forms == set(FORMS)
    images, labels = clean_signatures(SynthesisConfig(per_person=1), persons=range(1000, 1060))
    assert list(labels) == list(range(1000, 1060))
    ink = (images > 127).reshape(60, -1).mean(1)
    assert (ink > 0.004).all() and (ink < 0.5).all()
    for image in images:  # cropped to the ink and centred
        ys, xs = np.nonzero(image > 60)
        assert abs(max(np.ptp(ys), np.ptp(xs)) - 115) <= 3
        assert abs(ys.min() + ys.max() - 127) <= 4 and abs(xs.min() + xs.max() - 127) <= 4


def test_other_tables(tmp_path):
    config = SynthesisConfig(people=3, per_person=2, rows_per_sheet=25, table_width=(300, 320), tight_share=1.0)
    (photo,) = synthesize(tmp_path, config, progress=None, workers=1)
    (sheet,) = json.loads((tmp_path / "truth.json").read_text())["sheets"]
    points = np.array(sheet["points"])
    assert points.shape == (4, 4, 2) and photo.exists()
    assert points[..., 0].max() > sheet["size"][0] - 12 and points[..., 0].min() < 12


SMALL = SynthesisConfig(people=3, table_width=(300, 300), tight_share=1.0)


@lru_cache
def _hard():
    return render_sheet(SMALL, 0)


@pytest.mark.parametrize("hardship", ["rotation", "perspective", "curl", "shadow", "texture", "bleed", "noise"])
def test_hardships_can_be_switched_off(hardship):
    hard, _, _ = _hard()
    easy, _, truth = render_sheet(replace(SMALL, **{hardship: 0.0}), 0)
    assert easy.shape != hard.shape or (easy != hard).any()
    if hardship == "curl":
        flat = np.array(truth["points"])
        line = flat[0, 1:-1] - flat[0, 0]
        normal = np.array([-1.0, 1.0]) * (flat[0, -1] - flat[0, 0])[::-1] / np.hypot(*(flat[0, -1] - flat[0, 0]))
        assert np.abs(line @ normal).max() < 0.05


def test_the_page_turns_at_least_as_far_as_asked():
    for seed in range(3):
        config = replace(SMALL, seed=seed, rotation=8.0, rotation_least=8.0, perspective=0.0, curl=0.0, tight_share=0.0)
        line = np.diff(np.array(render_sheet(config, 0)[2]["points"])[0, [0, -1]], axis=0)[0]
        assert abs(abs(np.rad2deg(np.arctan2(line[1], line[0]))) - 8) < 0.1


def test_outer_lines_can_be_cropped_away():
    config = replace(SMALL, crop=3.0, rotation=0.0, perspective=0.0, curl=0.0)
    photo, _, truth = render_sheet(config, 0)
    points, (width, height) = np.array(truth["points"]), truth["size"]
    assert photo.shape[:2] == (height, width)
    assert (points[0, :, 1] == 0).all() and (points[-1, :, 1] == height - 1).all()
    assert (points[:, 0, 0] == 0).all() and (points[:, -1, 0] == width - 1).all()
    inner = np.diff(points[:, 1:, 0], axis=1).mean(axis=0)
    assert 1.5 < inner[0] - inner[-1] < 4.5  # the last column lacks what was cropped


def test_half_of_the_picture_lies_in_the_shadow():
    calm = replace(SMALL, shadow=0.0)
    light, _, _ = render_sheet(calm, 0)
    dark, _, _ = render_sheet(replace(calm, half_shadow=0.5), 0)
    ratio = cv2.GaussianBlur(dark, (0, 0), 3).astype(float) / np.maximum(cv2.GaussianBlur(light, (0, 0), 3), 1)
    assert abs((ratio < 0.75).mean() - 0.5) < 0.1
    assert abs(np.median(ratio[ratio < 0.75]) - 0.5) < 0.05 and abs(np.median(ratio[ratio >= 0.75]) - 1) < 0.05


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("people", 0),
        ("per_person", 0),
        ("rows_per_sheet", 41),
        ("seed", -1),
        ("jpeg_quality", 0),
        ("shadow", 1.0),
        ("turn", 4),
    ]
    + [("table_width", (900, 500)), ("perspective", -0.1), ("variation", -1.0)]
    + [("crop", -1.0), ("half_shadow", 1.0), ("rotation_least", 1.0)],
)
def test_config_says_what_is_wrong(field, value):
    with pytest.raises(ValueError, match=rf"SynthesisConfig: {field}="):
        SynthesisConfig(**{field: value})


def test_class_of_the_course():
    config = SynthesisConfig()
    assert config.n_sheets == 16
    assert [len(config.ids(s)) for s in (0, 14, 15)] == [12, 12, 4]
    assert config.ids(15) == [181, 182, 183, 184]


def test_every_writer_of_many_signs():
    """Short names once left a hasty hand without a wave to draw; 300 people include many of them."""
    images, labels = clean_signatures(SynthesisConfig(seed=1_000_003, per_person=1), range(300))
    assert len(images) == 300 and (images.max(axis=(1, 2)) > 30).all() and labels.tolist() == list(range(300))


def test_a_crowd_is_the_same_on_any_number_of_workers_and_reads_as_signatures(tmp_path, capsys):
    small = CrowdConfig(writers=60, per_writer=2)
    one, labels = draw_crowd(small, workers=1, progress=None)
    two, _ = draw_crowd(small, workers=2, progress=None)
    np.testing.assert_array_equal(one, two)
    assert set(np.unique(one)) == {0, 255} and labels.tolist() == np.repeat(range(60), 2).tolist()
    assert one.any(axis=(1, 2)).all()
    file = tmp_path / "crowd.npz"
    assert main(["crowd", "--out", str(file), "--writers", "60", "--per-writer", "2", "--workers", "1"]) == 0
    data = load_signatures(file)
    assert data.n_people == 60 and data.people[10] == "10" and int(data.is_test.sum()) == 60
    np.testing.assert_array_equal(data.images.numpy(), one)
    assert main(["crowd", "--out", str(file), "--writers", "1"]) == 2 and "at least 2" in capsys.readouterr().err


def test_archives_that_are_no_signatures_are_refused(tmp_path):
    np.savez(tmp_path / "grey.npz", x=np.zeros((4, 128, 128), np.float32), y=np.array(list("aabb")))
    with pytest.raises(DataError, match="float32"):
        load_signatures(tmp_path / "grey.npz")
    np.savez(tmp_path / "pickled.npz", x=np.array([{}], dtype=object), y=np.array(["a"]))
    with pytest.raises(DataError, match="not an archive"):
        load_signatures(tmp_path / "pickled.npz")


def test_a_two_level_scan_is_black_and_white_where_the_page_is():
    grey, label, _ = render_sheet(CLASS, 0)
    scan, same, _ = render_sheet(replace(CLASS, two_level=True), 0)
    assert set(np.unique(scan)) == {0, 255} and np.array_equal(label, same)
    inked, paper = label > 0, cv2.dilate((label > 0).astype(np.uint8), np.ones((9, 9))) == 0
    assert (scan[inked] == 0).mean() > 0.6 and (scan[paper] == 0).mean() < 0.12


def test_a_surname_stands_behind_the_name_in_the_same_hand():
    config = SynthesisConfig(seed=3)
    writer = next(w for w in (make_writer(config, k) for k in range(1, 40)) if w.form in NAMED)
    longer = with_surname(writer, np.random.default_rng(0))
    first, both = (np.concatenate([m.points for m in w.marks]) for w in (writer, longer))
    assert longer.hand == writer.hand and longer.pen == writer.pen and longer.marks[: len(writer.marks)] == writer.marks
    added = both[len(first) :]
    assert added[:, 0].min() > first[:, 0].max() and np.ptp(both[:, 0]) > 1.3 * np.ptp(first[:, 0])


def test_a_crowd_with_surnames_is_wider():
    plain, wide = (
        draw_crowd(CrowdConfig(writers=60, per_writer=2, surnames=share), workers=1, progress=None)[0] > 0
        for share in (0.0, 1.0)
    )
    aspect = [np.mean([np.ptp(np.nonzero(x)[1]) / np.ptp(np.nonzero(x)[0]) for x in part]) for part in (plain, wide)]
    assert aspect[1] > 1.2 * aspect[0]
    with pytest.raises(ValueError, match="surnames"):
        CrowdConfig(surnames=2.0)
