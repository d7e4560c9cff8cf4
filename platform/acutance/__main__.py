"""`python -m acutance` is the same as `acutance`."""

from acutance.cli import main

main()
