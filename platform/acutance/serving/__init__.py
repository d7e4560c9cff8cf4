"""Serves a model over HTTP: a picture in, the restored picture out.

`http` answers requests, without Ray. `admission` limits how many are handled at a time. `deployment` is the Ray Serve
deployment, which joins pictures that arrive together into batches. `commands.serve` starts and stops it.
"""
