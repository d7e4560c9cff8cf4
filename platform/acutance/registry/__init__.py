"""The registry: runs, the models that they produced, and which model is used. All of it is stored in MLflow.

`address` finds the tracking store and makes sure that it answers, `database` makes it where it is a file; `tracking`
keeps a run for a pipeline and one below it for each stage; `package` wraps a model file, with its `card` and our
code, so that `mlflow models serve` runs it anywhere; `export` writes it for other software; `resolve`
turns `models:/NAME@champion` into a file; `gate` and `promotion` decide which version is the champion, `decision_log`
keeps what was decided and `reconcile` brings MLflow's aliases in line with it.
"""
