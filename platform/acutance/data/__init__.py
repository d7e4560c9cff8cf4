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
