"""Pictures become shards, and shards a stream of batches.

`datasets` says which pictures a name stands for (`entries` what a catalogue may say, `folders` how files pair up),
`scored` and `classified` read pictures with scores or classes, `distorted` makes scored ones of real pictures;
`originals` says what a shard set is made of, of files whose check sums `inventory` keeps, and `known` what it was made
of where that is gone; `pictures` reads single ones, `encoded` those that shards hold as files; `degradations` make LR
pictures; `cutting` makes the layers of a whole picture and its sub-images; `prepare` does that with Ray Data; `shards`
is what is stored; `stream` is what training sees, `scales` one of several streams a step, `ahead` one that is early.
Nothing here imports Ray before `prepare` has work to do.
"""

from acutance.data.classified import Classified
from acutance.data.columns import Checked, Content, Contents, dataset_fingerprint
from acutance.data.datasets import Catalogue, Listed, Source, load_catalogue
from acutance.data.inputs import contents
from acutance.data.manifest import SHARD_VERSION, Manifest, read_manifest
from acutance.data.pictures import PictureError, encode_png, read_picture, write_picture
from acutance.data.prepare import found_shards, prepare, shards_folder
from acutance.data.scored import Scored
from acutance.data.shards import open_columns
from acutance.data.stream import Stream

__all__ = [
    "SHARD_VERSION",
    "Catalogue",
    "Checked",
    "Classified",
    "Content",
    "Contents",
    "Listed",
    "Manifest",
    "PictureError",
    "Scored",
    "Source",
    "Stream",
    "contents",
    "dataset_fingerprint",
    "encode_png",
    "found_shards",
    "load_catalogue",
    "open_columns",
    "prepare",
    "read_manifest",
    "read_picture",
    "shards_folder",
    "write_picture",
]
