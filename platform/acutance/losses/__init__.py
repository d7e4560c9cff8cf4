"""Losses and masks, the terms of an objective.

A loss is an `nn.Module` as `parts.protocols.Loss` says. `masks` select what a loss counts; `objective` adds up the
weighted losses.
"""
