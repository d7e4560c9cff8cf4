"""A picture file enlarged by a network, with everything that it was: depth, grey, transparency, colours.

`enlarge` runs the network, from top to bottom; `encode` makes the file, `png` a PNG of it row by row; `mark` notes in
a PNG what it was made from and with; `picture` does all of it for one picture. `enlarger` enlarges many small ones for
shards. Nothing here imports Ray.
"""
