"""Terms of an objective, one file a family.

A term is an `nn.Module` as `parts.protocols.Loss` says. `masks` has what a term may be blind to. `objective` adds them
up.
"""
