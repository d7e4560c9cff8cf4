"""Restores whole pictures and picture files; bit depth, grey, transparency and colour profile stay as they were.

`restore` runs a network tile by tile. `decoded_images` does it for decoded files, `encode` writes the result as a file,
`origin` notes in a PNG which picture and model it comes from, `picture_file` does all of this for one file. `enlarger`
enlarges many small pictures for shards. Nothing here imports Ray.
"""
