"""Pure functions on pictures as tensors (..., C, H, W): no state, no files, no Ray.

`colour` has luminance; `resize` MATLAB's two bicubic resizes; `detail` DSRGAN's detail extraction E (compiled for
CPUs in `detail_compiled`, for GPUs in `detail_gpu`), `smoothers` what the paper compares it with; `frequency` HFA's
high-pass filter, the spectrogram and measures of fine structure; `weightmap` the values whose loss should count, by
their difference from neighbours; `gms` where two pictures' edges differ, as a map and as HFA's masks; `edges` the edge
filters HFA starts from; `degradations` noise, reduction, JPEG and any sequence of them and of the `blurs`, with random
numbers from `draws`; `derivations` the columns that a pipeline may make of others, by name.
"""
