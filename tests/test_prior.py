"""The flow on the codes of a VAE, and the corpus that it learns from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from killed import FLOW, toy_corpus, train_vae

from sigen_utils.models.prior import (
    Flow,
    FlowConfig,
    Gaussians,
    Normal,
    Person,
    draw_references,
    flow_matching_loss,
    time_grid,
)
from sigen_utils.models.prior_vae import PriorConfig, PriorVAE
from sigen_utils.models.vae import VAEConfig
from sigen_utils.recipes import RECIPES
from sigen_utils.sampling import offers, sampler_of
from sigen_utils.synthesis import Corpus, CrowdConfig
from sigen_utils.training.averaging import Average
from sigen_utils.training.prior import PriorTrainer

SMALL = PriorConfig(
    vae=VAEConfig(width_fine=8, width_encoder=16, width_decoder=16),
    flow=FlowConfig(widths=(16, 16, 16), embedding=16),
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return toy_corpus()


@pytest.fixture(scope="module")
def model() -> PriorVAE:
    torch.manual_seed(0)
    return PriorVAE(SMALL).eval()


def test_an_untrained_flow_has_the_loss_of_no_knowledge():
    torch.manual_seed(0)
    z = torch.randn(8, 4, 4, 16, 16)
    loss = flow_matching_loss(Flow(SMALL.flow), z, z, seeded())["loss"].item()
    assert loss == pytest.approx(2.0, abs=0.05)  # velocity 0 against eps - z: the variance of both


def test_a_signature_is_never_its_own_reference():
    chosen = draw_references(500, 4, 0.25, seeded(), torch.device("cpu"))
    assert chosen.diagonal(dim1=1, dim2=2).sum() == 0
    counts = chosen.sum(-1)
    assert set(counts.unique().tolist()) == {0, 1, 2, 3}
    assert (counts == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_a_person_with_two_signatures_has_one_reference_or_none():
    chosen = draw_references(50, 2, 0.5, seeded(), torch.device("cpu"))
    assert set(chosen.sum(-1).unique().tolist()) == {0, 1}


def test_new_people_have_as_many_signatures_as_asked_for(model: PriorVAE):
    x = model.new(3, 2, seeded())
    assert x.shape == (6, 1, 128, 128) and x.min() >= 0 and x.max() <= 1


def test_a_seed_repeats_a_draw_and_another_one_does_not(model: PriorVAE):
    assert torch.equal(model.new(2, 2, seeded()), model.new(2, 2, seeded()))
    assert not torch.equal(model.new(2, 1, seeded()), model.new(2, 1, seeded(1)))


class Stretch(Flow):
    """The velocity a z, whose flow is known: z at 1 is e^a times z at 0."""

    def forward(self, z, t, person):
        return 0.3 * z


def test_the_density_of_a_known_flow():
    torch.manual_seed(0)
    flow, z = Stretch(SMALL.flow), torch.randn(3, 4, 16, 16)
    expected = Normal(4).log_prob(z * math.exp(0.3)) + 0.3 * 1024
    assert torch.allclose(flow.log_prob(z, seeded(), steps=64), expected, rtol=1e-3)


def test_a_change_of_scale_changes_the_density_as_it_should():
    flow, z = Flow(SMALL.flow), torch.randn(2, 4, 16, 16)  # untrained, the velocity is 0
    flow.scale.fill_(2.0)
    expected = torch.distributions.Normal(0.0, 2.0).log_prob(z).sum((1, 2, 3))
    assert torch.allclose(flow.log_prob(z, seeded(), steps=2), expected, rtol=1e-4)


def test_gaussians_find_two_clusters():
    z = torch.randn(60, 4, 16, 16, generator=seeded()) * 0.1
    z[:30] += 2.0
    mixture = Gaussians(4, components=2).fit(z)
    drawn = mixture.sample(200, seeded()).mean((1, 2, 3))
    assert ((drawn - 2).abs() < 0.1).float().mean() == pytest.approx(0.5, abs=0.15)
    assert (mixture.log_prob(z) > Normal(4).log_prob(z)).all()


def test_references_reach_the_velocity_once_the_flow_has_learned_anything():
    flow = Flow(SMALL.flow)
    for parameter in flow.parameters():  # the zero start of the last layers hides the references
        torch.nn.init.normal_(parameter, std=0.1)
    z, t = torch.randn(2, 4, 16, 16), torch.full((2,), 0.5)
    described = flow.describe(torch.randn(2, 4, 16, 16))[:, None]
    own = flow(z, t, flow.people(described, torch.ones(2, 1)))
    swapped = flow(z, t, flow.people(described.flip(0), torch.ones(2, 1)))
    nobody = flow(z, t, flow.people(described, torch.zeros(2, 1)))
    assert not torch.allclose(own, swapped) and not torch.allclose(own, nobody)
    fine = described.clone()
    fine[..., 256:] += 1  # what is where, without a change of the coarse map
    assert not torch.allclose(own, flow(z, t, flow.people(fine, torch.ones(2, 1))))


def test_guidance_goes_on_from_nobody_past_the_person():
    flow = Flow(replace(SMALL.flow, guidance=3.0))
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    z, t = torch.randn(2, 4, 16, 16), torch.full((2,), 0.5)
    person = flow.people(flow.describe(z)[:, None], torch.ones(2, 1))
    own, nobody = flow(z, t, person), flow(z, t, flow.nobody_in(2))
    velocity, push = flow.push(z, t, person)
    assert torch.allclose(velocity, own, atol=1e-5)
    assert torch.allclose(velocity + push, nobody + 3 * (own - nobody), atol=1e-4)
    assert torch.allclose(flow.push(z, t, flow.nobody_in(2))[1], torch.zeros_like(push), atol=1e-5)


def test_guidance_is_asked_for_at_every_second_step_and_not_at_the_first(monkeypatch):
    flow, asked = Flow(replace(SMALL.flow, guidance=3.0)), []
    monkeypatch.setattr(flow, "push", lambda z, t, person: asked.append(round(t[0].item(), 3)) or (z, 0.0))
    flow.sample(2, person=flow.people(torch.randn(2, 1, flow.config.person), torch.ones(2, 1)), steps=5)
    assert asked == [round(t.item(), 3) for t in time_grid(5, torch.device("cpu"))[[1, 3]]]
    flow.sample(2, steps=5)
    assert len(asked) == 2  # nobody is not guided


def test_the_solver_is_of_second_order():
    flow = Stretch(SMALL.flow)
    noise = torch.randn(2, 4, 16, 16)
    exact = noise * math.exp(-0.3)
    errors = [(flow.sample(2, noise=noise, steps=n) - exact).abs().max() for n in (4, 8, 16)]
    assert errors[1] < errors[0] / 2.5 and errors[2] < errors[1] / 2.5


def test_what_is_kept_of_a_person_is_640_numbers_and_a_count():
    model = PriorVAE(replace(SMALL, n_people=3)).eval()
    kept = {name: value for name, value in model.named_buffers() if value.shape[:1] == (3,)}
    assert {name: value[0].numel() for name, value in kept.items()} == {"people": 640, "references": 1}
    x = (torch.rand(5, 1, 128, 128) > 0.9).float()
    model.remember(x, torch.tensor([0, 0, 1, 2, 2]))
    assert torch.allclose(model.people[0], model.describe(x[:2]).mean(0), atol=1e-6)
    assert model.references.tolist() == [2, 1, 2]
    assert model.known(torch.tensor([2, 0]), seeded()).shape == (2, 1, 128, 128)


def test_a_prior_that_met_no_class_offers_new_people_and_strangers_only(model: PriorVAE):
    sampler = sampler_of(model)
    assert [offers(sampler, question) for question in ("new", "known", "like")] == [True, False, True]


def test_people_are_drawn_in_parts_by_the_same_noise(model: PriorVAE):
    noise = torch.randn(70, 4, 16, 16, generator=seeded())
    person = Person(model.flow.nobody.expand(70, -1), torch.zeros(70))
    assert torch.allclose(model.draw(person, noise=noise)[64:], model.draw(
        Person(person.description[64:], person.count[64:]), noise=noise[64:]), atol=1e-5)  # fmt: skip


def test_like_takes_any_number_of_references(model: PriorVAE):
    x = (torch.rand(2, 5, 1, 128, 128) > 0.9).float()
    assert model.like(x, seeded()).shape == (2, 1, 128, 128)


def test_a_flow_of_other_codes_is_refused():
    with pytest.raises(ValueError, match="channels"):
        PriorConfig(vae=VAEConfig(channels=8))


def test_a_corpus_survives_its_file(corpus: Corpus, tmp_path):
    again = Corpus.load(corpus.save(tmp_path / "corpus"), held_out=2)
    assert np.array_equal(again.bits, corpus.bits) and again.fingerprint() == corpus.fingerprint()
    assert len(again.train) == 40 and len(again.test) == 8 and again.is_test.sum() == 8
    ink = corpus.ink(torch.tensor([4, 0]))
    assert ink.shape == (2, 1, 128, 128) and set(ink.unique().tolist()) == {0.0, 1.0}


def test_a_file_that_is_no_corpus_is_named(tmp_path):
    path = tmp_path / "broken.npz"
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ValueError, match="broken.npz: not a corpus"):
        Corpus.load(path)


def test_the_corpus_is_the_same_for_any_number_of_workers():
    config = CrowdConfig(writers=4, per_writer=2, seed=11)
    one, two = (Corpus.draw(config, workers, progress=None) for workers in (1, 2))
    assert np.array_equal(one.bits, two.bits) and one.bits.any()


def test_both_stages_train_resume_exactly_and_leave_no_picture_of_a_person(corpus: Corpus, tmp_path, monkeypatch):
    few = dict(batch_size=4, checks=2, snapshots=2, n_fixed=1, checkpoint_seconds=0.0)
    recipe = RECIPES["corpus_vae"].changed("model", SMALL.vae)
    begin = replace(recipe, train=replace(recipe.train, **few)).fit(corpus, tmp_path / "ae", 8, progress=False)
    recipe = RECIPES["corpus_prior"].changed("model.flow", SMALL.flow).for_class(corpus, begin)
    recipe = replace(recipe, train=replace(recipe.train, **few))
    whole = recipe.fit(corpus, tmp_path / "whole", 48, begin, progress=False)
    assert whole.history[-1]["step"] == 3

    class Killed(Exception):
        pass

    updates, original = [], Average.update

    def dies_in_the_third_step(self, *args):
        updates.append(1)
        if len(updates) == 3:
            raise Killed
        original(self, *args)

    options = dict(images=48, start=begin, progress=False)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Average, "update", dies_in_the_third_step)
        recipe.fit(corpus, tmp_path / "killed", **options)
    resumed = recipe.fit(corpus, tmp_path / "killed", **options)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    files = {path.name for path in (tmp_path / "whole").iterdir()}
    assert files == {"config.json", "finished", "history.jsonl", "last.safetensors", "last.state.pt", "samples"}


def test_the_flow_needs_a_vae_to_start_from(corpus: Corpus, tmp_path):
    with pytest.raises(ValueError, match="codes of a VAE"):
        RECIPES["corpus_prior"].changed("model", SMALL).fit(corpus, tmp_path / "run", 64, progress=False)


def test_the_flow_may_know_fewer_writers_of_a_corpus(tmp_path):
    codes = train_vae(tmp_path / "codes", 8)
    recipe = RECIPES["corpus_prior"].changed("model.flow", FLOW).changed("train.writers", 3)
    recipe = recipe.for_class(toy_corpus(), codes)
    trainer = PriorTrainer(toy_corpus(), recipe.model, recipe.train, torch.device("cpu"), start=codes.model)
    assert trainer.n_items == 3 and len(trainer.checked[0]) == 2  # as many are held out as always
