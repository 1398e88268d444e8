"""The GANs: signs of the losses, the penalty, gradients, and games in which both networks learn."""

from dataclasses import replace

import pytest
import torch
from strokes import toy_signatures

from sigen_utils.models import gan
from sigen_utils.models.gan import Discriminator, GANConfig, Generator
from sigen_utils.models.prior import FlowConfig, Person
from sigen_utils.models.prior_gan import SET, PriorGAN, PriorGANConfig, SetDiscriminator
from sigen_utils.models.prior_vae import PriorVAE
from sigen_utils.models.vae import VAEConfig
from sigen_utils.recipes import RECIPES, REPAIRS, repair_steps
from sigen_utils.render import render
from sigen_utils.sampling import invert
from sigen_utils.training.gan import PriorGANTrainer

SMALL = GANConfig(latent_dim=8, width=8)
FULL = replace(SMALL, side=128)
BEST = PriorGANConfig(
    vae=VAEConfig(width_fine=8, width_encoder=16, width_decoder=16),
    flow=FlowConfig(widths=(16, 16, 16), embedding=16),
    width=16,
    blocks=1,
    widths_d=(8, 8, 16, 16),
    n_people=6,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize("network", gan.NETWORKS)
def test_noise_becomes_ink_and_ink_a_logit(network, side):
    config = replace(SMALL, network=network, side=side)
    g, d = Generator(config), Discriminator(config)
    fake = g(g.noise(3, seeded()))
    assert fake.shape == (3, 1, side, side) and d(fake).shape == (3,)
    assert gan.reduce(toy_signatures().x[:3], side).shape == fake.shape
    drawn = g.new(2, 2, seeded())
    assert drawn.shape == (4, 1, 128, 128) and 0 <= drawn.min() and drawn.max() <= 1 and not hasattr(g, "known")


@pytest.mark.parametrize("wrong", [dict(network="mlp"), dict(pairing="triplet"), dict(side=96)])
def test_unknown_choices_are_refused(wrong):
    with pytest.raises(ValueError, match="choose"):
        GANConfig(**wrong)


def test_every_repair_changes_one_field_and_the_last_is_our_recipe():
    steps = list(repair_steps().values())
    assert len(steps) == len(REPAIRS) + 1 and steps[0] == RECIPES["report_gan"]
    for before, after, (_, field, value) in zip(steps[:-1], steps[1:], REPAIRS, strict=True):
        assert before.changed(field, value) == after
    assert steps[-1].model == RECIPES["gan_alone"].model and steps[-1].train == RECIPES["gan_alone"].train


def test_losses_reward_the_right_side():
    good, bad = torch.full((4,), 6.0), torch.full((4,), -6.0)
    assert gan.bce_d_loss(good, bad) < 0.02 < 10 < gan.bce_d_loss(bad, good)
    assert gan.bce_g_loss(good) < 0.01 < 5 < gan.bce_g_loss(bad)
    assert gan.relativistic_d_loss(good, bad) < 1e-4 < 10 < gan.relativistic_d_loss(bad, good)
    assert gan.relativistic_g_loss(good, bad) > 10 > 1e-4 > gan.relativistic_g_loss(bad, good)


def test_losses_are_the_textbook_forms():
    real, fake = torch.randn(50), torch.randn(50)
    textbook = -(torch.sigmoid(real).log() + (1 - torch.sigmoid(fake)).log()).mean()
    assert torch.allclose(gan.bce_d_loss(real, fake), textbook, rtol=1e-4)
    assert torch.allclose(gan.relativistic_d_loss(real, fake), -torch.sigmoid(real - fake).log().mean(), rtol=1e-4)


def test_penalty_is_the_squared_gradient_norm():
    w = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0)) / 128
    x = torch.rand(2000, 1, 128, 128)
    noise = torch.randn(x.shape)
    still, moved = ((v * w).sum((1, 2, 3)) for v in (x, x + 0.05 * noise))
    assert torch.allclose(gan.slope_penalty(moved, still, 0.05), w.square().sum(), rtol=0.1)


def test_penalty_flattens_the_discriminator():
    x, slopes = toy_signatures().x[:6], []
    for penalty in (0.0, 50.0):
        torch.manual_seed(0)
        d, fake = Discriminator(FULL), torch.rand(6, 1, 128, 128)
        optimizer = torch.optim.Adam(d.parameters(), 1e-3)
        for k in range(20):
            optimizer.zero_grad()
            gan.d_step(d, x, fake, "relativistic", penalty, generator=seeded(k))["loss"].backward()
            optimizer.step()
        probe = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(d(probe).sum(), probe)
        slopes.append(grad.square().sum((1, 2, 3)).mean())
    assert slopes[1] < 0.5 * slopes[0]


@pytest.mark.parametrize("pairing", ["relativistic", "bce"])
def test_steps_reach_their_own_network_only(pairing):
    g, d = Generator(SMALL), Discriminator(SMALL)
    real, fake = gan.reduce(toy_signatures().x[:3], SMALL.side), g(torch.randn(3, 8))
    out = gan.d_step(d, real, fake.detach(), pairing, 1.0)
    out["loss"].backward()
    assert all(p.grad is None for p in g.parameters()) and {"loss", "real", "fake", "r1", "r2"} == set(out)
    assert sum(p.grad is None for p in d.parameters()) == (pairing == "relativistic") * 0
    d.zero_grad(set_to_none=True)
    d.requires_grad_(False)
    gan.g_step(d, fake, out["real"], pairing)["loss"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in g.parameters())
    assert all(p.grad is None for p in d.parameters())


def test_a_step_against_a_fixed_discriminator_lowers_the_generators_loss():
    torch.manual_seed(0)
    g, d, z = Generator(SMALL), Discriminator(SMALL), torch.randn(4, 8)
    optimizer, losses = torch.optim.Adam(g.parameters(), 1e-3), []
    for _ in range(10):
        loss = gan.g_step(d, g(z), torch.zeros(4), "relativistic")["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_an_interpolating_generator_paints_no_checkerboard():
    """Transposed convolutions with random weights repeat every four pixels and every two; interpolation does less."""

    def share(config):
        torch.manual_seed(0)
        x = Generator(config).eval().logits(torch.randn(16, config.latent_dim))[..., 32:96, 32:96]
        power = torch.fft.rfft2(x - x.mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
        return (power[:, -1].sum() / power.sum()).item()  # the column of period two

    assert share(SMALL) < 0.1 * share(GANConfig(network="dcgan"))


def test_rendered_ink_is_what_is_shown_and_has_a_gradient_where_a_stroke_breaks():
    logits = torch.full((1, 1, 128, 128), -6.0)
    logits[..., 40:44, 20:60] = logits[..., 40:44, 62:100] = 6.0
    logits[..., 40:44, 60:62] = 0.1  # a gap, nearly closed
    logits.requires_grad_(True)
    drawn = gan.render_straight_through(logits)
    shown = torch.sigmoid(logits.detach())
    assert torch.allclose(drawn, render(shown, link=False), atol=1e-6) and drawn[..., 42, 61] < 0.1
    assert (render(shown)[..., 41:43, 60:62] > 0.5).all()  # a link closes it for the eye, not for the discriminator
    drawn[..., 41:43, 60:62].sum().backward()
    assert (logits.grad[..., 41:43, 60:62] > 1e-3).all()


def test_a_signature_at_half_the_size_is_rendered_as_it_was():
    x = toy_signatures().x[:6]
    again, still = render(gan.enlarge(gan.reduce(x, 64))), render(x)
    assert torch.equal(gan.reduce(x, 128), x) and torch.equal(gan.enlarge(x), x)
    assert (again - still).abs().sum() < 0.12 * still.sum() < (still - still.roll(2, 3)).abs().sum()


def test_inversion_finds_noise_that_draws_a_given_picture():
    torch.manual_seed(0)
    g = Generator(SMALL).requires_grad_(False)
    for _ in range(40):
        g(torch.randn(32, 8))  # the statistics of its BatchNorm layers
    drawn = g.eval().ink(torch.randn(2, 8))
    target = (drawn > drawn.mean()).float()

    def cost(drawn):
        return torch.nn.functional.binary_cross_entropy(drawn, target)

    assert cost(invert(g, target)) < cost(torch.sigmoid(g.logits(torch.zeros(2, 8))))


# ------------------------------------------------------------------------------------------- the game on sets


@pytest.fixture(scope="module")
def start():
    torch.manual_seed(0)
    return PriorVAE(BEST).eval()


def test_the_best_generator_begins_as_the_prior_and_its_decoder(start):
    g = PriorGAN(BEST).eval()
    g.begin_as(start)
    g.remember(toy_signatures().x, toy_signatures().labels)
    start.remember(toy_signatures().x, toy_signatures().labels)
    y = torch.tensor([0, 3, 5])
    assert torch.allclose(g.known(y, seeded()), start.known(y, seeded()), atol=1e-6)
    assert not any(p.requires_grad for p in (*g.flow.parameters(), *g.vae.encoder.parameters()))
    fixed = PriorGAN(replace(BEST, train_decoder=False))
    assert not any(p.requires_grad for p in fixed.vae.parameters())


def test_the_discriminator_sees_sets_of_a_reference_and_two_draws(start):
    data, recipe = toy_signatures(), RECIPES["gan"]
    train = replace(recipe.train, batch_size=2, replay_writers=0, rounds=1, nobody=0.5)
    trainer = PriorGANTrainer(data, BEST, train, torch.device("cpu"), start=start)
    pool, own = trainer.pool, data.train
    assert pool.z.shape[:2] == (6, 2) and pool.genuine.shape == (6, SET, 128, 128)
    nobody = pool.person.count == 0
    assert (pool.genuine[nobody, 0] == 0).all() and pool.genuine[~nobody].flatten(2).any(2).all()
    of = {picture.numpy().tobytes(): int(k) for picture, k in zip(own.images > 127, own.labels, strict=True)}
    who = [[of.get(picture.bool().numpy().tobytes()) for picture in item] for item in pool.genuine]
    for names, without in zip(who, nobody.tolist(), strict=True):
        assert names[0] is None if without else len(set(names)) == 1  # one writer's, or two people's
    assert not torch.equal(pool.z[:, 0], pool.z[:, 1])  # two draws differ
    parts = trainer.step(torch.arange(2), 0.5, seeded())
    assert all(torch.isfinite(part).all() for part in parts.values())
    before = trainer.generator.flow.state_dict()
    assert all(torch.equal(before[name], value) for name, value in start.flow.state_dict().items())
    assert SetDiscriminator(BEST)(torch.rand(2, SET, 128, 128)).shape == (2,)


def test_a_draw_depends_on_its_noise_alone(start):
    person = Person(start.flow.nobody.expand(2, -1), torch.zeros(2))
    noise = torch.randn(2, 4, 16, 16, generator=seeded())
    assert torch.equal(start.draw(person, noise=noise), start.draw(person, noise=noise))


def test_a_gan_on_sets_needs_a_prior_to_begin_as():
    with pytest.raises(ValueError, match="train vae"):
        PriorGANTrainer(toy_signatures(), BEST, RECIPES["gan"].train, torch.device("cpu"))
