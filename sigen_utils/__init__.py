"""sigen: from photographed sheets of signatures to a VAE, a GAN, their scores and the report."""

__version__ = "0.1.0"
