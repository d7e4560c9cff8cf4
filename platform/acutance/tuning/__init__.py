"""Tuning: campaigns over a stage's numbers with Ray Tune and Optuna.

`trial` is one training with suggested values, scored at its rungs; `search` proposes, runs and stops trials; `report`
draws the Pareto front.
"""
