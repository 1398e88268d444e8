"""The VAEs: the bound and its parts, gradients, what they are drawn from."""

import math
from dataclasses import replace

import pytest
import torch
from strokes import toy_signatures

from sigen_utils.models.baselines import ReportVAE, ReportVAEConfig
from sigen_utils.models.prior import Normal
from sigen_utils.models.vae import VAE, VAEConfig, reconstruction_loss
from sigen_utils.recipes import RECIPES
from sigen_utils.sampling import gaussians_of, invert, sampler_of
from sigen_utils.training.vae import ReportVAETrainer, VAETrainer

SMALL = VAEConfig(width_fine=8, width_encoder=16, width_decoder=16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("network", [VAE(SMALL), VAE(replace(SMALL, likelihood="mse")), ReportVAE()])
def test_codes_and_reconstructions_have_their_shapes(network):
    x = toy_signatures().x[:3]
    mu, logvar = network.encode(x)
    assert mu.shape == logvar.shape and len(mu) == 3
    ink = network.reconstruct(x)
    assert ink.shape == x.shape and 0 <= ink.min() and ink.max() <= 1


@pytest.mark.parametrize("likelihood", ["bernoulli", "mse"])
def test_the_parts_of_the_loss_add_up_and_are_those_of_the_textbook(likelihood):
    torch.manual_seed(0)
    x, net = toy_signatures().x[:4], VAE(replace(SMALL, likelihood=likelihood))
    parts = net(x, 0.5, seeded())
    assert torch.allclose(parts["loss"], parts["reconstruction"] + 0.5 * parts["kl"])
    mu, logvar = net.encode(x)
    p = torch.sigmoid(net.decode(net.reparameterize(mu, logvar, seeded())))
    by_hand = (x - p).square() if likelihood == "mse" else -(x * p.log() + (1 - x) * (1 - p).log())
    assert torch.allclose(parts["reconstruction"], by_hand.sum((1, 2, 3)).mean(), rtol=1e-4)
    q = torch.distributions.Normal(mu, torch.exp(0.5 * logvar))
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum((1, 2, 3)).mean()
    assert torch.allclose(parts["kl"], kl, rtol=1e-4)


def test_a_blank_reconstruction_costs_the_ink_and_a_sure_one_nothing():
    x = toy_signatures().x[:2]
    assert reconstruction_loss(torch.zeros_like(x), x).item() == pytest.approx(128 * 128 * math.log(2), rel=1e-4)
    assert reconstruction_loss(40 * x - 20, x) < 1 < reconstruction_loss(20 - 40 * x, x)


def test_an_unknown_likelihood_is_refused():
    with pytest.raises(ValueError, match="bernoulli"):
        VAEConfig(likelihood="cauchy")


def test_every_weight_learns_and_one_batch_can_be_learned():
    torch.manual_seed(0)
    net, x, losses = VAE(SMALL), toy_signatures().x[:4], []
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(25):
        loss = net(x, 0.1, seeded())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


def test_the_weight_of_the_kl_term_rises_to_beta():
    trainer = VAETrainer(toy_signatures(), replace(SMALL, beta=2.0, warmup=0.5), RECIPES["vae_alone"].train, CPU)
    assert [trainer.beta(p) for p in (0.0, 0.2, 0.6, 1.0)] == pytest.approx([0.1, 0.9, 2.0, 2.0])


CPU = torch.device("cpu")


def test_the_reports_vae_sees_turned_and_noisy_pictures_at_a_fixed_rate(monkeypatch):
    recipe = RECIPES["report_vae"]
    assert recipe.train.learning_rate == 1e-5 and ReportVAEConfig().latent_dim == 128
    trainer = ReportVAETrainer(toy_signatures(), recipe.model, recipe.train, CPU)
    seen, model = [], trainer.model
    monkeypatch.setattr(trainer, "wrapped", lambda x, *rest: seen.append(x) or model(x, *rest))
    index = torch.arange(8)
    for progress in (0.0, 1.0):
        trainer.step(index, progress, seeded())
        assert trainer.optimizer.param_groups[0]["lr"] == 1e-5
    paper = seen[0][trainer.ink(index) == 0]
    assert 0.01 < paper.mean() < 0.2 and not torch.equal(seen[0], trainer.ink(index))
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0


def test_a_vae_is_drawn_from_a_normal_or_from_gaussians_of_its_codes():
    torch.manual_seed(0)
    net, x = VAE(SMALL).eval(), toy_signatures().x
    sampler = sampler_of(net)
    assert isinstance(sampler.density, Normal) and sampler.new(2, 2, seeded()).shape == (4, 1, 128, 128)
    fitted = gaussians_of(net, x, components=2)
    assert fitted.new(3, 1, seeded()).shape == (3, 1, 128, 128)
    with torch.no_grad():
        codes = net.reparameterize(*net.encode(x), seeded())
    assert fitted.density.log_prob(codes).mean() > Normal(4).log_prob(codes).mean()
    assert not hasattr(sampler, "known") and not hasattr(sampler, "like")


def test_a_search_finds_a_better_code_than_the_encoders_single_look():
    torch.manual_seed(0)
    net, x = VAE(SMALL).eval().requires_grad_(False), toy_signatures().x[:2]
    first = torch.nn.functional.binary_cross_entropy(net.reconstruct(x), x)
    found = torch.nn.functional.binary_cross_entropy(invert(net, x, steps=30), x)
    assert found < first
