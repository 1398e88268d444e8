"""The GAN: signs of the losses, the penalty, gradients, and people that reach both networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from strokes import toy_signatures

from sigen_utils.models import gan
from sigen_utils.models.baselines import ReportDiscriminator, ReportGenerator
from sigen_utils.models.gan import Discriminator, GANConfig, Generator
from sigen_utils.models.layers import smooth
from sigen_utils.models.vae import VAE, VAEConfig, fit_prior
from sigen_utils.render import find_ink, pen, render

SMALL = GANConfig(latent_dim=8, widths=(8, 8, 16, 16), embedding_dim=8, noise_scale=1.0, rendered=False)
OF_PEOPLE = replace(SMALL, n_people=4, exemplars=3, warped=False)
NOISE = GANConfig(latent_dim=64 + 256, detail=1, n_people=2, conditioning="thumbnails", widths=(8, 8, 16, 16))


def networks(config):
    return Generator(config), Discriminator(config)


def codes(n, seed=0):
    return torch.randn(n, SMALL.latent_dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", [SMALL, OF_PEOPLE, NOISE])
def test_shapes(config):
    g, d = networks(config)
    e = torch.randn(3, config.latent_dim)
    fake = g(torch.randn(3, config.noise_dim), torch.tensor([0, 1, 1]) if config.n_people else e)
    assert fake.shape == (3, 1, 128, 128)
    assert d(fake, e).shape == (3,)


def test_the_reports_networks_know_nobody():
    g, d = ReportGenerator(), ReportDiscriminator()
    fake = g(g.noise(3, generator=torch.Generator().manual_seed(0)))
    assert fake.shape == (3, 1, 128, 128) and 0 <= fake.min() and fake.max() <= 1 and d(fake).shape == (3,)


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
    torch.manual_seed(0)
    x, y = toy_signatures().x[:6], codes(6)
    slopes = []
    for penalty in (0.0, 50.0):
        torch.manual_seed(0)
        d, fake = Discriminator(SMALL), torch.rand(6, 1, 128, 128)
        optimizer = torch.optim.Adam(d.parameters(), 1e-3)
        for k in range(20):
            optimizer.zero_grad()
            gan.d_step(d, x, fake, y, SMALL, penalty, torch.Generator().manual_seed(k))["loss"].backward()
            optimizer.step()
        probe = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(d(probe, y).sum(), probe)
        slopes.append(grad.square().sum((1, 2, 3)).mean())
    assert slopes[1] < 0.5 * slopes[0]


def test_steps_reach_their_own_network_only():
    g, d = networks(SMALL)
    y = codes(3)
    real, fake = toy_signatures().x[:3], g(torch.randn(3, 8), y)
    out = gan.d_step(d, real, fake.detach(), y, SMALL, 1.0)
    out["loss"].backward()
    assert all(p.grad is None for p in g.parameters())
    assert all(p.grad is not None for p in d.parameters())
    assert {"loss", "real", "fake", "gap", "r1", "r2"} <= set(out)
    d.zero_grad(set_to_none=True)
    d.requires_grad_(False)
    gan.g_step(d, fake, out["real"], y)["loss"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in g.parameters())
    assert all(p.grad is None for p in d.parameters())


def test_people_reach_both_networks():
    g, d = networks(SMALL)
    z, x = torch.randn(4, 8), toy_signatures().x[:4]
    a, b = codes(4), codes(4, seed=1)
    assert not torch.allclose(g(z, a), g(z, b)) and not torch.allclose(d(x, a), d(x, b))


def test_a_step_against_a_fixed_discriminator_lowers_the_generators_loss():
    torch.manual_seed(0)
    g, d = networks(SMALL)
    y, z = codes(4), torch.randn(4, 8)
    optimizer = torch.optim.Adam(g.parameters(), 1e-3)
    real_logits = torch.zeros(4)
    losses = []
    for _ in range(10):
        loss = gan.g_step(d, g(z, y), real_logits, y)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_penalty_falls_geometrically():
    config = GANConfig(penalty=16.0, penalty_end=1.0)
    assert gan.penalty_at(0.5, config) == pytest.approx(4.0)
    assert gan.penalty_at(0.5, replace(config, penalty=0.0)) == 0.0


def test_a_generator_can_begin_as_a_vaes_sampler_of_people():
    torch.manual_seed(0)
    vae = VAE(VAEConfig(latent_dim=8, widths=(8, 8, 16, 16), n_people=6, components=3)).eval()
    fit_prior(vae, toy_signatures().images, toy_signatures().labels)
    config = GANConfig(latent_dim=8, widths=(8, 8, 16, 16), n_people=6, embedding_dim=8)
    g = Generator(config)
    y, z = torch.tensor([0, 3, 5]), torch.randn(3, config.noise_dim)
    before = g.ink_probability(z, y)
    g.start_from(vae)
    codes = g.describe(y, z)
    which = (torch.special.ndtr(z[:, 8]) * config.exemplars).long()
    assert torch.allclose(codes, vae.encode_person(y, which, z[:, 9:]), atol=1e-5)
    as_vae = vae.to_ink(vae.decode(codes + config.noise_scale * vae.within(z[:, :8])))
    assert torch.allclose(g.ink_probability(z, y), as_vae, atol=1e-5) and not torch.allclose(before, as_vae, atol=1e-3)
    assert torch.equal(g(z, y), pen(find_ink(g.ink_probability(z, y), link=False).float())) and config.rendered
    assert torch.allclose(g.ink_probability(z, codes), as_vae, atol=1e-5)
    assert not any(p.requires_grad for p in g.encoder.parameters())  # codes are not learned
    with pytest.raises(ValueError, match="latent_dim"):
        Generator(GANConfig(latent_dim=16, n_people=6, widths=(8, 8, 16, 16))).start_from(vae)


def test_the_noise_chooses_among_a_persons_signatures_and_moves_them_without_end():
    toy = toy_signatures(4, 4)
    config = OF_PEOPLE
    g, z, y = Generator(config).eval(), torch.randn(600, config.noise_dim), torch.full((600,), 2)
    g.signatures.remember(toy.images, toy.labels)
    told = g.describe(y, z)
    rows = torch.cat([g.encode_person(y[:1], k) for k in range(3)])
    gap, which = torch.cdist(told, rows).min(1)
    assert gap.max() < 1e-4 and which.bincount(minlength=3).min() > 0.28 * 600  # each about a third, nobody else's
    moving = Generator(replace(config, warped=True)).eval()
    moving.load_state_dict(g.state_dict())
    told = moving.describe(y[:64], z[:64])
    assert torch.cdist(told, told).fill_diagonal_(9).min() > 0  # not one twice
    assert torch.allclose(moving.describe(y[:3], z[:3]), told[:3], atol=1e-4)  # by its own noise alone
    people = torch.arange(4).repeat(60)
    together = g.noise(240, people, torch.Generator().manual_seed(0))
    rows = torch.cat([g.encode_person(people[:4], k) for k in range(3)])
    drawn = torch.cdist(g.describe(people, together), rows).argmin(1)
    assert (drawn % 4 == people).all() and (drawn.bincount() == 20).all()  # each as often as any other, ...
    assert abs(together[:, 8].std() - 1) < 0.1  # ... by noise as usual


@pytest.mark.parametrize("known", [True, False])
def test_projection_finds_codes_that_draw_a_given_picture(known):
    torch.manual_seed(0)
    g = Generator(SMALL).eval()
    e = codes(2)
    with torch.no_grad():
        w = g.code(torch.randn(2, SMALL.latent_dim), e)
        target = (g.draw(w) > 0.12).float()  # an untrained generator's ink is pale everywhere
    found = gan.invert(g, target, e if known else None)

    def cost(w):
        return gan.reconstruction_loss(g.net(w), target).item()

    with torch.no_grad():
        assert cost(found) < cost(g.code(torch.zeros_like(w), e) if known else torch.zeros_like(w))
    assert found.abs().max() < 6 and all(p.grad is None for p in g.parameters())


def test_a_projection_goes_as_far_as_signatures_of_a_person_differ_and_not_only_as_their_noise():
    torch.manual_seed(0)
    narrow = replace(SMALL, noise_scale=0.05)
    g = Generator(narrow).eval()
    with torch.no_grad():
        g.scale.whole.mul_(narrow.noise_scale)
        g.mapping[2].weight.zero_(), g.mapping[2].bias.zero_()
        e = torch.randn(4, SMALL.latent_dim)
        target = (g.draw(g.code(torch.randn_like(e) / narrow.noise_scale, e)) > 0.12).float()
    far = (gan.invert(g, target, e) - e).norm(dim=1)
    g.config = replace(narrow, noise_scale=1.0)  # as if the noise were all that signatures of a person differ by
    near = (gan.invert(g, target, e) - e).norm(dim=1)
    assert (far > 2 * near).all()


def test_known_codes_take_the_last_places_and_redrawing_is_a_likelihood():
    torch.manual_seed(0)
    g, z, y = Generator(SMALL), torch.randn(4, SMALL.latent_dim), codes(4)
    known = torch.randn(2, SMALL.latent_dim)
    mixed, logits = g(z, y, known)
    assert torch.allclose(mixed[:2], g(z, y)[:2], atol=1e-5) and torch.allclose(mixed[2:], g.draw(known), atol=1e-5)
    assert torch.allclose(gan.soft_threshold(logits), g.draw(known), atol=1e-5)
    x = (torch.rand(2, 1, 128, 128) > 0.9).float()
    assert gan.reconstruction_loss(torch.zeros_like(x), x).item() == pytest.approx(128 * 128 * np.log(2), rel=1e-4)
    assert gan.reconstruction_loss(20 * x - 10, x) < 2 < gan.reconstruction_loss(10 - 20 * x, x)


def test_crisp_draws_what_would_be_rendered_and_has_a_gradient():
    sure = torch.full((1, 1, 128, 128), -6.0)
    sure[..., 40:44, 20:100] = 6.0
    unsure = smooth(smooth(smooth(sure + 6))) - 4  # a haze around a stroke of 4 pixels
    unsure.requires_grad_(True)
    drawn = gan.soft_threshold(unsure)
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert (drawn.detach() - render(torch.sigmoid(unsure))).abs().mean() < 0.01
    assert ((drawn > 0.2) & (drawn < 0.8)).sum() < 0.5 * ((unsure > -1.4) & (unsure < 1.4)).sum()  # less grey
    drawn.sum().backward()
    assert unsure.grad.abs().max() > 0


def test_a_rendered_generator_draws_what_is_shown_and_has_a_gradient_where_a_stroke_breaks():
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
    g = Generator(GANConfig(rendered=True, widths=(8, 8), latent_dim=8))
    assert torch.equal(g.ink(logits), drawn)
    assert torch.equal(Generator(SMALL).ink(logits), gan.soft_threshold(logits))


def test_detail_is_drawn_from_codes_but_a_hand_is_judged_by_the_whole():
    config = GANConfig(latent_dim=8 + 256, detail=1, n_people=4, exemplars=1, widths=(8, 8, 16, 16))
    assert config.whole_dim == 8
    g, d = Generator(config).eval(), Discriminator(config).eval()
    with torch.no_grad():
        g.net.detail.weight.normal_()
        z, x, e = torch.zeros(2, 264), torch.rand(2, 1, 128, 128), torch.randn(2, 264)
        whole, detail = e.clone(), e.clone()
        whole[:, 0] += 1.0
        detail[:, 8:] += 1.0
        drawn, other_detail, other_whole = (g.ink_probability(z, code) for code in (e, detail, whole))
        assert not torch.allclose(drawn, other_detail) and not torch.allclose(drawn, other_whole)
        assert torch.equal(d(x, e), d(x, detail)) and not torch.allclose(d(x, e), d(x, whole))
    vae = VAE(VAEConfig(latent_dim=264, detail=1, widths=(8, 8, 16, 16), n_people=4, exemplars=1)).eval()
    g.start_from(vae)
    with pytest.raises(ValueError, match="detail"):
        Generator(GANConfig(latent_dim=264, n_people=4, widths=(8, 8, 16, 16))).start_from(vae)


def test_a_thumbnail_says_where_ink_is_and_nothing_finer():
    x = torch.zeros(2, 1, 128, 128)
    x[0, 0, 5, 9], x[1, 0, 6, 10] = 1, 1  # in the same square of four pixels
    for detail, others in ((1, 8), (4, 4)):
        code = gan.Thumbnail(detail)(x)
        assert code.shape == (2, 64 + detail * 256) and torch.equal(code[0], code[1])
        assert not torch.equal(code, gan.Thumbnail(detail)(x.roll(others, 3)))
    ink = (torch.rand(64, 1, 128, 128, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    assert gan.Thumbnail(4)(ink).mean().abs() < 0.1
    generator = gan.Generator(replace(NOISE, exemplars=1))
    z, y = torch.randn(2, generator.config.noise_dim), torch.tensor([0, 1])
    assert torch.equal(generator.describe(y, z), generator.encode(generator.signatures(y, 0, z[:, -57:])))


@pytest.mark.parametrize(
    "wrong", [dict(latent_dim=64), dict(latent_dim=64 + 512, detail=2), dict(n_people=0), dict(conditioning="table")]
)
def test_thumbnails_have_their_own_size(wrong):
    with pytest.raises(ValueError, match="thumbnails"):
        replace(NOISE, **wrong)
