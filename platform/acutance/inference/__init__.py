"""A picture file restored by a network, with everything that it was: depth, grey, transparency, colours.

`restore` runs the network tile by tile, `decoded_images` in a picture's own depth and with its transparency, from top
to bottom; `encode` makes the file; `origin` notes in a PNG what it was made from and with; `picture_file` does all of
it for one picture. `enlarger` enlarges many small pictures for shards. Nothing here imports Ray.
"""
