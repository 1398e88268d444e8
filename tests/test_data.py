"""The signature set: polarity, splitting, augmentation, rendering, and what it says to bad input."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from strokes import toy_signatures

from sigen_utils import data
from sigen_utils.data import (
    LINK,
    PERSON_MOVES,
    AugmentConfig,
    DataError,
    augment,
    batch_index,
    find_ink,
    load_signatures,
    move_ink,
    render,
    sharpen,
)


def write_folder(root, signatures):
    for picture, name in zip(signatures.images.numpy(), signatures.files, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - picture).save(root / name)


def test_conversion_is_its_own_inverse_and_ink_is_one():
    picture = np.full((3, 8, 8), 255, np.uint8)
    picture[:, 2:4] = 0
    ink = data.to_model(picture)
    assert ink.shape == (3, 1, 8, 8) and ink[0, 0, 2, 0] == 1 and ink[0, 0, 0, 0] == 0
    assert (data.to_image(ink) == picture).all()


def test_conversion_refuses_floats():
    with pytest.raises(TypeError, match="uint8"):
        data.to_model(np.zeros((8, 8), np.float32))


def test_round_trip_through_a_folder(tmp_path):
    toy = toy_signatures()
    write_folder(tmp_path, toy)
    Image.new("L", (30, 10), 255).save(tmp_path / "1" / "id.png")
    read = load_signatures(tmp_path)
    assert read.people == toy.people and read.files == toy.files
    assert (read.images == toy.images).all() and (read.is_test == toy.is_test).all()
    assert read.fingerprint() == toy.fingerprint()


def test_split_holds_out_the_last_of_every_person():
    toy = toy_signatures(5, 4)
    assert len(toy.train) == 15 and len(toy.test) == 5
    assert not set(toy.train.files) & set(toy.test.files)
    assert toy.test.labels.tolist() == list(range(5)) and all(name.endswith("/4.png") for name in toy.test.files)


def test_foreign_pictures_are_cropped_scaled_and_centred(tmp_path):
    toy = toy_signatures(2, 2)
    for picture, name in zip(toy.images.numpy(), toy.files, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        large = np.full((300, 500), 230, np.uint8)  # grey paper, ink off the centre
        large[20:148, 350:478] = np.where(picture, 40, 230)
        Image.fromarray(large).save((tmp_path / name).with_suffix(".jpg"), quality=90)
    ink = load_signatures(tmp_path).images[0].numpy()
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert 114 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 118
    assert abs(rows.mean() - 63.5) < 8 and set(np.unique(ink)) == {0, 255}


def test_cedar_names_are_understood(tmp_path):
    toy, folder = toy_signatures(2, 3), tmp_path / "full_org"
    folder.mkdir()
    for k, picture in enumerate(toy.images.numpy()):
        Image.fromarray(255 - picture).save(folder / f"original_{k // 3 + 1}_{k % 3 + 1}.png")
    for place in (folder, tmp_path):  # the folder above too, which else would be one person called full_org
        read = load_signatures(place)
        assert read.people == ["1", "2"] and read.is_test.tolist() == [False, False, True] * 2


@pytest.mark.parametrize("damage, message", [
    ("missing", "no such folder"),
    ("empty", "no <person>/<image>"),
    ("single", "one signature only"),
    ("truncated", "cannot be read"),
])  # fmt: skip
def test_bad_folders_are_named(tmp_path, damage, message):
    root = tmp_path / "signatures"
    if damage != "missing":
        root.mkdir()
    if damage == "single":
        write_folder(root, toy_signatures(1, 1))
    if damage == "truncated":
        write_folder(root, toy_signatures(1, 2))
        whole = (root / "1" / "2.png").read_bytes()
        (root / "1" / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=message) as error:
        load_signatures(root)
    assert "signatures" in str(error.value)


def test_augmentation_changes_pictures_but_not_their_kind():
    x, g = toy_signatures().x, torch.Generator().manual_seed(1)
    y = augment(x, AugmentConfig(), g)
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 1
    assert ((y - x).square().sum((1, 2, 3)) > 10).float().mean() > 0.7  # most are moved
    assert 0.7 < y.sum() / x.sum() < 1.3  # ink neither made nor lost


def test_augmentation_of_nothing_is_the_identity():
    still = AugmentConfig(rotation=0, scale=0, shear=0, translation=0, elastic=0, noise=0)
    x = toy_signatures().x
    assert torch.allclose(augment(x, still), x, atol=1e-4)


def test_augmentation_moves_by_the_stated_pixels():
    x = torch.zeros(200, 1, 128, 128)
    x[:, :, 60:68, 60:68] = 1
    moved = augment(x, AugmentConfig(0, 0, 0, 4.0, 0, 0, 1.0), torch.Generator().manual_seed(0))
    places = torch.arange(128.0)
    shift = (moved.sum((1, 2)) @ places) / moved.sum((1, 2, 3)) - 63.5
    assert 3.5 < shift.abs().max() <= 4.05


def test_augmentation_lets_gradients_through():
    x = toy_signatures().x.requires_grad_()
    augment(x, AugmentConfig(elastic=0.0), torch.Generator().manual_seed(0)).sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0


def extent(x):
    """Longer side of the ink and its middle, in pixels, of each of ``[N, 1, H, W]``: ``[N, 3]``."""
    out = []
    for picture in x[:, 0].numpy() > 0.5:
        rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        out.append((longer, (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2))
    return np.array(out)


def test_moved_ink_is_ink_of_the_same_size_at_the_same_place():
    toy = toy_signatures()
    x, far = toy.x, AugmentConfig(rotation=12, scale=0.25, shear=0.2, translation=15, elastic=2.5, probability=1)
    y = move_ink(x, far, torch.Generator().manual_seed(1))
    assert set(y.unique().tolist()) == {0, 1} and y.dtype == x.dtype
    assert (np.abs(extent(y) - extent(x)) <= (2, 1, 1)).all()  # though moved by up to 15 px and cut by no edge
    assert ((y - x).square().sum((1, 2, 3)) > 50).all() and 0.7 < y.sum() / x.sum() < 1.3


@pytest.mark.parametrize("width, least", [(1, 0.55), (2, 1.0)])
def test_moved_ink_keeps_fine_strokes(width, least):
    line = torch.zeros(100, 1, 128, 128)
    line[..., 64 : 64 + width, 10:118] = 1

    def whole(x):
        """Share of the lines that are in one piece."""
        return np.mean([cv2.connectedComponents(picture.astype(np.uint8))[0] == 2 for picture in x[:, 0].numpy() > 0.5])

    y = move_ink(line, PERSON_MOVES, torch.Generator().manual_seed(0))
    assert whole(y) >= least
    assert 0.9 < y.sum() / line.sum() < 1.2  # no stroke fattened


def test_edges_of_broad_strokes_stay_smooth_when_they_are_turned(monkeypatch):
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    bar = ((rows - 0.15 * (columns - 64) - 62).abs() < 2.5) & ((columns - 64).abs() < 56)
    x = bar.float().expand(64, 1, 128, 128)
    noise = torch.randn(64, data.MOVE_NUMBERS, generator=torch.Generator().manual_seed(0))

    def roughness() -> torch.Tensor:
        """Mean squared distance of the upper edge from a straight line, beyond that of whole pixels, by picture."""
        turned = move_ink(x, AugmentConfig(rotation=25.0, scale=0, shear=0, elastic=0, probability=1), noise=noise)
        edge = turned[:, 0].argmax(1)[:, 24:104].double()  # [64, 80], the row at which each column begins
        line = torch.stack([torch.ones(80), torch.arange(80.0)], 1).double()
        left = edge.T - line @ torch.linalg.lstsq(line, edge.T).solution
        return left.square().mean(0) - 1 / 12

    ours = roughness()
    monkeypatch.setattr(data, "soften", lambda x: x)
    assert (ours < roughness()).float().mean() > 0.9 and ours.median() < 0.65 * roughness().median()


def test_softened_ink_is_straight_along_a_stroke_and_parts_where_ink_did():
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    line = ((rows - 0.15 * (columns - 64) - 64).abs() < 1.5) & ((columns - 64).abs() < 56)
    x = torch.cat([line.float()[None, None], line.float().T[None, None], toy_signatures().x[:5]])
    soft = data.soften(x)
    assert soft.shape == x.shape and ((soft > 0.5) == (x > 0.5))[2:].float().mean() > 0.99
    assert torch.allclose(soft[0, 0], soft[1, 0].T, atol=1e-3)  # no direction is preferred

    def place(picture):
        """Where ink lies in each column, of what is next to the line."""
        weight = picture * ((rows - 0.15 * (columns - 64) - 64).abs() < 4)
        return ((weight * rows).sum(0) / weight.sum(0))[20:108]

    ideal = (0.15 * (columns[0] - 64) + 64)[20:108]
    off = [(place(picture) - ideal).square().mean() for picture in (soft[0, 0], x[0, 0])]
    assert off[0] < 0.2 * off[1]  # the staircase is gone
    noise = torch.randn(7, data.MOVE_NUMBERS, generator=torch.Generator().manual_seed(0))
    moved = move_ink(x, PERSON_MOVES, noise=noise)
    assert torch.equal(moved, move_ink(x, PERSON_MOVES, noise=noise, soft=soft)) and not torch.equal(moved, x)
    assert data.soften(torch.zeros(2, 1, 16, 16)).equal(torch.zeros(2, 1, 16, 16))
    assert data.soften(torch.zeros(0, 1, 16, 16)).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("size", [0.9, 1.1])
def test_a_moved_pen_keeps_its_width(size, monkeypatch):
    x = toy_signatures().x
    grid, step, far = data._move_grid(x, AugmentConfig(probability=0.0), torch.zeros(len(x), data.MOVE_NUMBERS))
    monkeypatch.setattr(data, "_move_grid", lambda *_: (grid / size, step / size, torch.ones_like(far)))
    left = move_ink(x, PERSON_MOVES).sum() / x.sum()
    assert abs(left - size) < abs(left - size**2)  # strokes that are shorter, not thinner as well


def test_ink_that_is_not_moved_stays_as_it_is():
    x, still = toy_signatures().x, AugmentConfig(probability=0.0)
    assert move_ink(x, still).equal(x)
    assert move_ink(torch.zeros_like(x), PERSON_MOVES).sum() == 0  # an empty picture has no size to keep


def test_a_guess_is_moved_as_the_ink_that_it_stands_for():
    x = toy_signatures(4, 2).x[:6]
    noise = torch.randn(6, data.MOVE_NUMBERS, generator=torch.Generator().manual_seed(0))
    logits = (12 * x - 6).requires_grad_()
    moved = data.move_guess(logits, x, data.PERSON_MOVES, noise)
    ink, as_ink = (moved > 0).float(), data.move_ink(x, data.PERSON_MOVES, noise=noise)
    common = (ink * as_ink).sum((1, 2, 3)) / (ink + as_ink).clamp(max=1).sum((1, 2, 3))
    assert (common > 0.7).all() and not torch.equal(as_ink, x)  # the levels differ a little, hence the edges
    moved.sum().backward()
    assert logits.grad.abs().sum() > 0


def test_what_was_first_sharpened_without_gradients_can_be_learned_from_later():
    data._blurring.cache_clear()
    x = torch.rand(2, 1, 24, 40)
    with torch.inference_mode():
        before = sharpen(x)
    y = x.clone().requires_grad_()
    after = sharpen(y)
    after.sum().backward()
    assert torch.equal(before, after) and y.grad.isfinite().all()
    flat = torch.full((1, 1, 24, 40), 0.5)
    assert torch.allclose(sharpen(flat), flat, atol=1e-6)  # what is beyond the frame is as at its edge


def test_a_shift_is_by_whole_pixels_and_lets_the_gradient_through():
    x = toy_signatures(4, 2).x[:6].requires_grad_()
    out = data.shift(x, 5, torch.Generator().manual_seed(0))
    was, now = (part.flatten(1).sum(1) for part in (x, out))
    assert torch.allclose(was, now) and set(out.detach().unique().tolist()) == {0.0, 1.0}  # still binary, none lost
    found = [
        (dy, dx)
        for k in range(6)
        for dy in range(-5, 6)
        for dx in range(-5, 6)
        if torch.equal(torch.roll(x[k], (dy, dx), (-2, -1)), out[k])
    ]
    assert len(found) == 6 and len(set(found)) > 3  # each its own
    out.sum().backward()
    assert (x.grad[..., 5:-5, 5:-5] == 1).all()  # what is shifted out has no say
    assert torch.equal(data.shift(x, 0), x)


def test_a_pen_draws_what_rendering_shows_dust_included():
    x = toy_signatures(4, 2).x[:6]
    x[:, :, 3:5, 3:5] = 1  # too small for ink
    drawn, shown = data.pen(x), render(x)
    assert (drawn[..., 2:6, 2:6] > 0.5).any() and not shown[..., :8, :8].any()
    assert torch.equal(drawn[..., 8:, :], shown[..., 8:, :])
    assert torch.allclose(data.pen_parts(torch.ones(1, 1, 16, 16)), torch.ones(1))  # weights that sum to one


def test_batches_cover_every_signature_once_an_epoch_and_split_over_processes():
    n, batch = 23, 5
    one = torch.cat([batch_index(n, 2 * batch, step, seed=3) for step in range(23)])
    assert all(sorted(one[i : i + n].tolist()) == list(range(n)) for i in range(0, len(one) - n + 1, n))
    parts = [batch_index(n, batch, 4, seed=3, rank=r, world=2) for r in range(2)]
    assert torch.stack(parts, 1).flatten().equal(batch_index(n, 2 * batch, 4, seed=3))


def test_render_keeps_ink_drops_dust_and_haze():
    toy = toy_signatures().x
    drawn = render(toy)
    assert drawn.min() >= 0 and drawn.max() <= 1 and 0.8 < drawn.sum() / toy.sum() < 1.25
    assert ((drawn > 0.5) == (toy > 0.5)).float().mean() > 0.985
    dirty = (toy + 0.3).clamp(0, 1)  # haze
    dirty[:, :, 2, 2] = 1  # dust
    clean = render(dirty)
    assert clean[:, :, :6, :6].sum() == 0
    assert render(torch.full((1, 1, 128, 128), 0.4)).sum() == 0


def test_the_split_can_be_set(tmp_path):
    write_folder(tmp_path, toy_signatures())
    few = load_signatures(tmp_path, train_per_person=1)
    assert few.train.labels.bincount().tolist() == [1] * few.n_people
    assert len(few) == len(load_signatures(tmp_path)) and [f for f in few.train.files if not f.endswith("1.png")] == []
    with pytest.raises(DataError, match="cannot train on 0"):
        load_signatures(tmp_path, train_per_person=0)
    with pytest.raises(DataError, match="hold out the others"):
        load_signatures(tmp_path, train_per_person=40)


def test_ink_is_found_in_a_guess_and_binary_ink_is_kept():
    toy = toy_signatures().x
    assert (find_ink(toy) == (toy > 0.5)).all()
    line = torch.zeros(1, 1, 128, 128)
    line[..., 60:62, 30:90] = 1
    pale = 0.6 * cv2_blur(line, 1.0)  # a thin stroke that a model is unsure of: nowhere above one half
    assert pale.max() < 0.5 and find_ink(pale)[..., 60:62, 35:85].all()
    two = torch.zeros(1, 1, 128, 128)
    two[..., 50:53, 30:90] = two[..., 56:59, 30:90] = 1
    merged = cv2_blur(two, 2.0)  # two strokes that run into each other
    assert (merged[..., 54, 60] > 0.4).all() and not find_ink(merged)[..., 54, 60].any()
    assert torch.allclose(sharpen(torch.full((1, 1, 32, 32), 0.4)), torch.tensor(0.4), atol=1e-5)  # haze stays haze


def test_faint_ink_is_drawn_where_it_joins_two_pieces_and_nowhere_else():
    guess = torch.zeros(1, 1, 128, 128)
    guess[..., 60:62, 20:50] = guess[..., 60:62, 53:90] = guess[..., 90:110, 20:22] = 1
    guess[..., 60:62, 50:53] = 0.28  # between two pieces
    guess[..., 60:62, 90:96] = 0.2  # a faint end
    guess[..., 100:102, 40:60] = 0.2  # a faint stroke on its own
    guess[..., 96:98, 22:26] = 0.2  # a faint branch of one piece
    inked, strict = find_ink(guess), find_ink(guess, link=False)
    assert inked[..., 60:62, 20:90].all() and not strict[..., 60:62, 50:53].any()
    rest = torch.ones_like(inked)
    rest[..., 59:63, 49:54] = False
    assert torch.equal(inked & rest, strict & rest) and not inked[..., 100:102, 40:60].any()
    faint = sharpen(guess) > LINK
    assert faint[..., 100:102, 40:60].all() and faint[..., 60:62, 94:96].all() and faint[..., 97, 23:26].any()
    assert (render(guess) > 0.5)[..., 60:62, 21:89].all() and not (render(guess, link=False) > 0.5)[..., 50:52].any()


def cv2_blur(x, sigma):
    return torch.from_numpy(cv2.GaussianBlur(x[0, 0].numpy(), (0, 0), sigma))[None, None]


def test_a_stored_class_is_recognised():
    toy, other = toy_signatures(seed=0), toy_signatures(seed=1)
    assert toy.matches(toy.people, toy.thumbnails())
    assert not toy.matches(other.people, other.thumbnails())
    assert not toy.matches(["x"], toy.thumbnails())
