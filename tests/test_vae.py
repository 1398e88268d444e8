"""The VAE: the bound and its parts, gradients, the fitted prior."""

import math
from dataclasses import replace

import pytest
import torch
from strokes import toy_signatures

from sigen_utils.models.baselines import ReportVAE
from sigen_utils.models.layers import WithinClassNoise
from sigen_utils.models.vae import (
    LIKELIHOODS,
    VAE,
    VAEConfig,
    beta_at,
    bits_per_pixel,
    elbo,
    fit_prior,
    kl_divergence,
    linear_active_units,
    log_density,
    reconstruction_loss,
)

SMALL = VAEConfig(latent_dim=8, widths=(8, 8, 16, 16), components=3, n_people=6)
CB = VAEConfig(likelihood="continuous_bernoulli")


def test_kl_of_a_standard_normal_is_zero_and_of_a_shifted_one_known():
    zero = torch.zeros(2, 5)
    assert kl_divergence(zero, zero).abs().max() == 0
    assert torch.allclose(kl_divergence(zero + 2.0, zero), torch.full((2, 5), 2.0))
    generator = torch.Generator().manual_seed(0)  # and by Monte Carlo for any other
    mu, logvar = torch.tensor([[0.7]]), torch.tensor([[-1.2]])
    z = mu + torch.exp(0.5 * logvar) * torch.randn(200_000, 1, generator=generator)
    log_q = -0.5 * ((z - mu) ** 2 / logvar.exp() + logvar)
    assert math.isclose((log_q + 0.5 * z**2).mean(), kl_divergence(mu, logvar).item(), abs_tol=0.02)


@pytest.mark.parametrize("network", [VAE, ReportVAE])
@pytest.mark.parametrize("config", [SMALL, VAEConfig(latent_dim=8, widths=(8, 8), likelihood="mse")])
def test_shapes_and_range(network, config):
    x = toy_signatures().x[:3]
    model = network(config)
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (3, config.latent_dim)
    ink = model.to_ink(model.decode(mu))
    assert ink.shape == x.shape and 0 <= ink.min() and ink.max() <= 1


def test_parts_add_up_and_by_hand():
    x, model = toy_signatures().x[:4], VAE(SMALL)
    parts = elbo(model, x, beta=0.5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(parts["loss"], parts["reconstruction"] + 0.5 * parts["kl"])
    p = torch.sigmoid(parts["logits"])
    by_hand = -(x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3)).mean()
    assert torch.allclose(parts["reconstruction"], by_hand, rtol=1e-4)
    assert torch.allclose(parts["kl"], kl_divergence(parts["mu"], parts["logvar"]).sum(1).mean())


def test_mse_likelihood_is_the_sum_of_squared_errors():
    x = toy_signatures().x[:2]
    model = VAE(VAEConfig(latent_dim=4, widths=(8, 8), likelihood="mse"))
    parts = elbo(model, x)
    assert torch.allclose(parts["reconstruction"], (torch.sigmoid(parts["logits"]) - x).square().sum() / 2, rtol=1e-3)


def test_one_batch_can_be_learnt_and_every_weight_learns():
    x, model = toy_signatures().x[:4], VAE(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    first = elbo(model, x)["loss"].item()
    for _ in range(150):
        optimizer.zero_grad()
        parts = elbo(model, x, beta=0.1)
        parts["loss"].backward()
        optimizer.step()
    assert parts["loss"].item() < 0.4 * first
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


def test_warmup_rises_to_beta():
    config = VAEConfig(beta=2.0, warmup=0.5)
    assert [beta_at(p, config) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 1.0, 2.0, 2.0]
    assert beta_at(0.0, VAEConfig(warmup=0.0)) == 1.0
    assert math.isclose(bits_per_pixel(128 * 128 * math.log(2)), 1.0)


def test_fitted_prior_samples_where_the_codes_are():
    toy = toy_signatures(6, 4)
    model = VAE(SMALL).eval()
    with torch.no_grad():  # codes far from N(0, I), so that a prior left at its start would show
        model.encoder.head.bias[:8] += 5.0
    fit_prior(model, toy.images, toy.labels, seed=0)
    codes = model.encode(toy.x)[0]
    z = model.sample_prior(4000, torch.Generator().manual_seed(0))
    assert torch.allclose(z.mean(0), codes.mean(0), atol=0.15)
    assert torch.allclose(z.var(0), codes.var(0), rtol=0.35, atol=5e-3)
    own = model.sample_person(torch.full((2000,), 3), torch.Generator().manual_seed(0))
    y, which = torch.full((300,), 3), torch.arange(300) % SMALL.exemplars
    assert torch.allclose(model.encode_person(y[:3], which[:3]), codes[toy.labels == 3][:3], atol=1e-5)
    noise = torch.randn(300, model.signatures.numbers, generator=torch.Generator().manual_seed(1))
    near = model.encode_person(y, which, noise)
    apart = torch.cdist(near, near, compute_mode="donot_use_mm_for_euclid_dist")  # products round small ones to 0
    assert apart.fill_diagonal_(9).min() > 0  # never the same place twice
    assert torch.allclose(own.mean(0), near.mean(0), atol=0.1)
    away = own - near[torch.cdist(own, near).argmin(1)]
    assert away.var(0).sum() < 0.5 * own.var(0).sum()  # a kernel around each, not one cloud around the mean
    normal = model.sample_prior(4000, torch.Generator().manual_seed(0), prior="normal")
    assert normal.mean().abs() < 0.1 and abs(normal.std() - 1) < 0.05


def test_an_unknown_likelihood_is_refused():
    with pytest.raises(ValueError, match="choose"):
        VAEConfig(likelihood="l1")


def test_optimal_sigma_is_the_best_gaussian_and_has_its_gradient():
    x, logits = torch.rand(3, 1, 16, 16), torch.randn(3, 1, 16, 16, requires_grad=True)
    best = reconstruction_loss(logits, x, VAEConfig(likelihood="optimal_sigma")).mean()
    for sigma in (0.05, 0.3, 0.5, 1.0):  # the same density with its constant, at other widths
        fixed = reconstruction_loss(logits, x, VAEConfig(likelihood="mse", sigma=sigma)).mean()
        assert best <= fixed + 0.5 * 256 * math.log(2 * math.pi * sigma**2) + 1e-3
    (gradient,) = torch.autograd.grad(best, logits)
    log_error = 0.5 * 256 * (torch.sigmoid(logits) - x).square().mean().log()
    assert torch.allclose(gradient, torch.autograd.grad(log_error, logits)[0], rtol=1e-3, atol=1e-5)


def test_continuous_bernoulli_integrates_to_one_over_grey():
    grey = torch.linspace(0, 1, 2001)[:, None, None, None]  # one pixel, every grey
    for logit in (-3.0, 0.0, 1.5):
        density = (-reconstruction_loss(torch.full_like(grey, logit), grey, CB)).exp()
        assert torch.trapezoid(density, grey.flatten()).item() == pytest.approx(1.0, abs=1e-3)


def test_linear_collapse_counts_the_directions_above_the_noise():
    generator = torch.Generator().manual_seed(0)
    x = torch.full((4000, 1, 4), 127.0)
    for pixel, deviation in enumerate((60.0, 30.0, 10.0, 0.0)):
        x[:, 0, pixel] += deviation * torch.randn(4000, generator=generator)
    count, eigenvalues = linear_active_units(x.clamp(0, 255).to(torch.uint8), noise_variance=(20 / 255) ** 2)
    assert count == 2 and (eigenvalues.diff() <= 0).all()
    assert eigenvalues[1].sqrt().item() * 255 == pytest.approx(30, rel=0.05)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_can_be_learned(likelihood):
    torch.manual_seed(0)
    model, x = VAE(replace(SMALL, likelihood=likelihood)), toy_signatures(4, 2).x
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = elbo(model, x)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and all(map(math.isfinite, losses))


def test_a_vae_goes_on_from_another_one_of_its_size_and_draws_detail_at_its_place():
    config = replace(SMALL, n_people=0, latent_dim=8 + 2 * 256, detail=2)
    other, model = VAE(config).eval(), VAE(config).eval()
    x, z = torch.rand(2, 1, 128, 128), torch.randn(2, 520)
    assert not torch.allclose(model.decode(z), other.decode(z), atol=1e-3)
    model.start_from(other)
    assert torch.equal(model.decode(z), other.decode(z)) and torch.equal(model.encode(x)[0], other.encode(x)[0])
    elbo(model, x)["loss"].backward()
    assert model.decoder.detail.weight.grad.abs().sum() > 0
    with torch.no_grad():
        model.decoder.detail.weight.normal_()
    there = torch.zeros(1, 520)
    there[0, 8 + 5 * 16 + 10] = 1.0  # first channel, row 5, column 10
    moved = (model.decode(there) - model.decode(torch.zeros(1, 520))).abs()[0, 0]
    row, column = divmod(int(moved.argmax()), 128)
    assert abs(row - 5.5 * 8) < 16 and abs(column - 10.5 * 8) < 16  # and is about its place
    for wrong in (replace(config, latent_dim=8 + 256, detail=1), replace(config, latent_dim=520, detail=0)):
        with pytest.raises(ValueError, match="needs the same"):
            VAE(wrong).start_from(other)
    with pytest.raises(ValueError, match="detail="):
        VAEConfig(latent_dim=512, detail=2)


def test_a_spread_is_that_of_the_codes_and_where_few_are_known_nearer_to_a_known_one():
    torch.manual_seed(0)
    true, many, few, alone = (WithinClassNoise(3, 2).requires_grad_(False) for _ in range(4))
    true.whole.copy_(torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.5]]))
    true.detail.copy_(torch.tensor([1.5, 0.2]))
    codes = true(torch.randn(20_000, 5)).double()
    many.fit(codes, len(codes))
    assert torch.allclose(many.whole, true.whole, atol=0.05) and torch.allclose(many.detail, true.detail, atol=0.05)
    few.fit(codes[:3], 2, true)
    alone.fit(codes[:3], 2)
    assert (few.whole - true.whole).norm() < 0.5 * (alone.whole - true.whole).norm()
    assert (few.detail - true.detail).norm() < (alone.detail - true.detail).norm()


def test_log_density_is_that_of_torchs_mixture():
    from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

    torch.manual_seed(0)
    codes, centres, weights = (
        torch.randn(7, 4).double(),
        torch.randn(3, 4).double(),
        torch.tensor([0.2, 0.5, 0.3]).double(),
    )
    factor = torch.linalg.cholesky(torch.eye(4).double() + 0.3)
    normals = MultivariateNormal(centres, scale_tril=factor.expand(3, 4, 4))
    expected = MixtureSameFamily(Categorical(weights), normals).log_prob(codes)
    assert torch.allclose(log_density(codes, centres, factor, weights.log()), expected, atol=1e-10)
