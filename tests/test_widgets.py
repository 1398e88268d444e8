"""The latent explorer without a browser: what each control does to the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sigen_utils.__main__ import main
from sigen_utils.experiments import blind_test
from sigen_utils.widgets import NOBODY, LatentExplorer, png

DIRECTIONS = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0]])
SCALES = np.array([2.0, 0.5])
MEAN = np.array([1.0, 1.0, 1.0, 1.0])
PEOPLE = {"17": np.array([4.0, 3, 2, 1]), "23": np.array([0.0, 1, 5, 9])}


class Render:
    """Draws z as four bars and remembers what it was asked for."""

    def __init__(self):
        self.calls: list[np.ndarray] = []

    def __call__(self, z: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
        self.calls.append(np.concatenate([z, condition]) if condition is not None else z)
        picture = np.full((32, 32), 255, np.uint8)
        for i, value in enumerate(self.calls[-1]):
            picture[4 * i : 4 * i + 3, : int(np.clip(16 + value, 0, 32))] = int(np.clip(100 + value * 9, 0, 250))
        return picture


def explorer(**changes) -> LatentExplorer:
    settings = dict(render=Render(), directions=DIRECTIONS, scales=SCALES, mean=MEAN, people=PEOPLE) | changes
    return LatentExplorer(**settings)


def test_the_first_picture_is_the_mean_in_whole_pixels():
    e = explorer(size=100)
    assert len(e.render.calls) == 1
    assert np.array_equal(e.z, MEAN)
    shown = np.asarray(Image.open(io.BytesIO(e.image.value)))
    assert shown.shape == (96, 96) and (e.image.width, e.image.height) == ("96", "96")
    assert np.array_equal(shown[::3, ::3], Render()(MEAN))
    assert "ms" in e.timing.value


def test_a_slider_moves_along_its_direction_and_draws_once():
    e = explorer()
    before = e.image.value
    e.sliders[0].value = 1.5
    assert len(e.render.calls) == 2
    assert np.allclose(e.z, [4, 1, 1, 1])  # 1 + 1.5 * scale 2
    assert e.image.value != before
    e.sliders[1].value = -2
    assert np.allclose(e.render.calls[-1], [4, 0, 1, 1])
    assert e.render.calls[-1].dtype == np.float32


def test_reset_restores_the_picture_with_one_render():
    e = explorer()
    before = e.image.value
    e.sliders[0].value, e.sliders[1].value, e.person.value, e.other.value, e.blend.value = 2, -1, 0, 1, 0.5
    assert e.image.value != before
    calls = len(e.render.calls)
    e.reset_button.click()
    assert e.image.value == before
    assert len(e.render.calls) == calls + 1
    assert (e.person.value, e.other.value, e.blend.value) == (NOBODY, NOBODY, 0)


def test_the_picker_moves_to_the_person_and_keeps_the_sliders():
    e = explorer()
    e.sliders[0].value = 1
    e.person.value = 1
    assert np.allclose(e.z, PEOPLE["23"] + [2, 0, 0, 0])
    assert len(e.render.calls) == 3
    assert [label for label, _ in e.person.options] == ["nobody", "17", "23"]


def test_interpolation_ends_at_the_two_people():
    e = explorer()
    e.person.value = 0
    seventeen = e.image.value
    e.person.value = 1
    twenty_three = e.image.value
    assert e.blend.disabled
    e.person.value, e.other.value = 0, 1
    assert not e.blend.disabled
    assert e.image.value == seventeen and np.allclose(e.z, PEOPLE["17"])
    e.blend.value = 1
    assert e.image.value == twenty_three and np.allclose(e.z, PEOPLE["23"])
    e.blend.value = 0.5
    assert np.allclose(e.z, (PEOPLE["17"] + PEOPLE["23"]) / 2)


def test_random_draws_once_stays_in_range_and_repeats_with_its_seed():
    a, b, c = explorer(), explorer(), explorer(seed=1)
    a.person.value = 0
    first = [s.value for s in a.sliders]
    calls = len(a.render.calls)
    for e in (a, b, c):
        e.random_button.click()
    values = [[s.value for s in e.sliders] for e in (a, b, c)]
    assert len(a.render.calls) == calls + 1
    assert values[0] == values[1] != first and values[1] != values[2]
    assert a.person.value == 0  # a random signature of the person chosen
    for _ in range(50):
        a.random()
        assert all(abs(s.value) <= 3 for s in a.sliders)


def test_random_with_a_prior_starts_from_its_draw():
    e = explorer(draw=lambda rng: rng.standard_normal(4))
    expected = np.random.default_rng(0).standard_normal(4)
    e.sliders[0].value, e.person.value = 1, 0
    e.random_button.click()
    assert np.allclose(e.z, expected) and e.person.value == NOBODY
    e.sliders[0].value = 1
    assert np.allclose(e.z, expected + [2, 0, 0, 0])
    e.reset_button.click()
    assert np.allclose(e.z, MEAN)


def test_conditions_do_not_move_the_latent():
    people = {"a": np.array([9.0, 0.0]), "b": np.array([0.0, 9.0])}
    e = explorer(people=people, conditional=True)
    assert e.person.value == 0 and [label for label, _ in e.person.options] == ["a", "b"]
    first = e.image.value
    e.other.value, e.blend.value = 1, 0.5
    assert np.allclose(e.condition, [4.5, 4.5]) and np.allclose(e.z, MEAN)
    assert np.allclose(e.render.calls[-1], [*MEAN, 4.5, 4.5])
    e.random_button.click()
    assert e.person.value == 0
    e.reset_button.click()
    assert e.image.value == first
    e.contact_sheet(values=(-1, 1))
    assert all(np.allclose(call[4:], [9, 0]) for call in e.render.calls[-4:])


def test_without_people_there_are_no_pickers():
    e = explorer(people=None)
    assert e.person not in e.widget.children[1].children
    e.reset()
    e.random()
    assert e.sliders[0] in e.widget.children[1].children


def test_set_checks_before_it_moves_anything():
    e = explorer()
    before = e.image.value
    for bad in ({"values": [1]}, {"values": [9, 0]}, {"values": [np.nan, 0]}, {"person": "99"}, {"blend": 2}):
        with pytest.raises(ValueError):
            e.set(**bad)
    assert e.image.value == before and len(e.render.calls) == 1
    e.set([3, -3], person="17", other="23", blend=0.25)
    assert np.allclose(e.z, 0.75 * PEOPLE["17"] + 0.25 * PEOPLE["23"] + [6, -1.5, 0, 0])
    assert len(e.render.calls) == 2


def test_sliders_cannot_leave_their_range():
    e = explorer(limit=2)
    e.sliders[0].value = 50
    assert e.sliders[0].value == 2
    assert np.allclose(e.z, MEAN + [4, 0, 0, 0])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"directions": np.eye(3)}, "latent_dim"),
        ({"scales": np.ones(1)}, "latent_dim"),
        ({"scales": np.array([1.0, np.inf])}, "finite"),
        ({"names": ["only one"]}, "1 names for 2"),
        ({"people": {"a": np.zeros(3)}}, "vector"),
        ({"people": None, "conditional": True}, "needs people"),
        ({"render": lambda z: np.zeros((8, 8))}, "uint8"),
        ({"render": lambda z: np.zeros((1, 8, 8), np.uint8)}, "uint8"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changes)


def test_a_failing_render_is_shown_and_raised():
    e = explorer()

    def broken(z):
        raise RuntimeError("no such model")

    e.render = broken
    with pytest.raises(RuntimeError):
        e._draw()
    assert "no such model" in e.timing.value


def test_contact_sheet_has_a_row_a_direction_and_moves_no_control():
    e = explorer(names=["slant", "width"])
    before = e.image.value
    fig = e.contact_sheet(values=(-2, 0, 2))
    assert {"slant", "width", "-2", "0", "+2"} <= {t.get_text() for t in fig.axes[0].texts}
    steps = SCALES[:, None] * DIRECTIONS
    assert np.allclose(e.render.calls[1:], [MEAN + v * step for step in steps for v in (-2, 0, 2)])
    assert e.image.value == before


def test_png_is_lossless_and_never_shrinks():
    picture = np.random.default_rng(0).integers(0, 256, (200, 300), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(picture, size=10)))), picture)


def test_it_shows_itself(monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    e = explorer()
    e._ipython_display_()
    assert shown == [e.widget]


def test_a_blind_test_counts_wrong_answers(tmp_path, capsys):
    real, fake = torch.ones(8, 1, 16, 16), torch.zeros(8, 1, 16, 16)
    items = blind_test.make_items(real, fake, n=12, seed=3)
    assert sum(item.genuine for item in items) == 6 and [i.genuine for i in items] != sorted(i.genuine for i in items)
    assert all((item.picture.max() == 0) == item.genuine for item in items)
    test = blind_test.BlindTest(items, model="gan")
    first = bytes(test.picture.value)
    for _ in range(14):  # calls everything genuine, and goes on after the end
        test.buttons[0].click()
    assert len(test.answers) == 12 and first.startswith(b"\x89PNG")
    score = blind_test.score_answers([test.sheet()])
    assert score["wrong"] == 0.5 and score["taken_for_genuine"] == 1 and score["genuine_doubted"] == 0
    assert score["wrong_low"] < 0.3 < 0.7 < score["wrong_high"] and "50%" in test.word.value
    paths = [str(test.save(tmp_path / f"{k}.json")) for k in "ab"]
    assert main(["blind-score", *paths]) == 0 and "2 people: 50% of 24" in capsys.readouterr().out
    (tmp_path / "c.json").write_text("[1]")
    assert main(["blind-score", str(tmp_path / "c.json")]) == 2 and "not the answers" in capsys.readouterr().err


def test_wilson_interval_matches_a_known_value_and_few_signatures_are_refused():
    assert blind_test.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=2e-4)
    assert blind_test.wilson(0, 0) == (0, 1) and blind_test.wilson(0, 20)[0] == 0
    with pytest.raises(ValueError, match="even number"):
        blind_test.make_items(torch.ones(3, 1, 8, 8), torch.ones(3, 1, 8, 8), n=8)
