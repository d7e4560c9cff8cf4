"""Networks: one file per architecture, plain `nn.Module` with typed keyword-only constructors.

What a network, a discriminator and a feature network must be, `parts.protocols` says. `features` are the frozen
classifiers that perceptual losses look through. `public_weights` reads and writes ESRGAN checkpoints, `model_file` our
own files.
"""
