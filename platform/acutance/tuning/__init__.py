"""Tuning: campaigns over a pipeline's numbers with Ray Tune and Optuna.

`study` is what is known, in an Optuna storage; `ledger` asks Optuna and tells it, by `rules` of early stopping or a
`population`; `search` lets Ray Tune run the trials, `trial` is one of them, with its `workers`; `lease` keeps a second
driver out; `board` shows a campaign while it runs, `report` and `tables` what it came to.
"""
