"""Trainings that are compared: the models, ablations, repetitions with other seeds, searches, a test by eye."""
