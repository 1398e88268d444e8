"""The networks, and the losses that they are trained on."""
