"""From pictures to shards, and from shards to batches.

- `datasets`: the pictures of a data set by its name; `entries`: the schema of a catalogue; `folders`: pairs of files;
- `scored`, `classified`: pictures with scores or classes; `distorted`: makes scored pictures from real ones;
- `inputs`: the files that a shard set is made from; `inventory`: their checksums; `dataset_record`: what they were;
- `pictures`: reads one picture; `encoded`: pictures that shards hold as files;
- `subimages`: columns of a whole picture, cut into sub-images; `prepare`: makes shards by Ray Data tasks
(`shard_task`);
- `shards`, `columns`, `manifest`: what is stored; `stream`: batches for training; `multi_scale_stream`: one scale a
  step; `prefetch`: batches ahead of time.

Nothing here imports Ray before `prepare` has shards to make.
"""

from acutance.data.classified import Classified
from acutance.data.columns import Content, Contents, PictureChecksums, dataset_fingerprint
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
    "Classified",
    "Content",
    "Contents",
    "Listed",
    "Manifest",
    "PictureChecksums",
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
