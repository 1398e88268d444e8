"""Trainings: one loop, a trainer for each kind of model, and the folder that a run is kept in."""
