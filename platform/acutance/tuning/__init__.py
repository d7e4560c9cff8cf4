"""Tuning: campaigns over a pipeline's numbers with Ray Tune and Optuna.

- `study`: the Optuna study with all trials; `ask_tell`: proposes trials and records their scores; `pruners`: early
  stopping; `pbt`: population based training; `cmaes`: a sampler;
- `search`: runs the trials by Ray Tune; `trial`: one of them, with its `workers`; `study_lock`: one driver at a time;
- `live_table`: shows a running campaign; `report`, `tables`: its results.
"""
