"""A model behind HTTP: a picture in, the restored one out.

`http` is what requests are answered, without Ray; `crowd` bounds how many are here; `deployment` is the Ray Serve
deployment that answers them, and joins what arrives together into batches. `commands.serve` starts and stops it.
"""
