"""Pure functions on pictures as tensors (..., C, H, W): no state, no files, no Ray.

`colour` has luminance; `resize` MATLAB's two bicubic resizes; `detail` DSRGAN's detail extraction E (compiled for
CPUs in `detail_compiled`, for GPUs in `detail_gpu`), `smoothers` what the paper compares it with; `frequency` HFA's
high-pass filter, the spectrogram and measures of fine structure; `weightmap` the values whose loss should count, by
their difference from neighbours; `gms` where two pictures' edges differ, as a map and as HFA's masks; `edges` the edge
filters HFA starts from; `degradations` noise, reduction, JPEG and any sequence of them and of the `blurs`, with random
numbers from `draws`; `derivations` the columns that a pipeline may make of others, by name.
"""

from acutance.imaging.blurs import blur, gaussian_blur, gaussian_kernel, random_blur, random_kernel
from acutance.imaging.colour import rgb_to_y
from acutance.imaging.degradations import awgn, bicubic_reduction, degrade, jpeg
from acutance.imaging.derivations import derive_columns, lgs
from acutance.imaging.detail import exact_detail, extract_detail
from acutance.imaging.edges import edge_filters, hessian_filters
from acutance.imaging.frequency import high_frequency_energy, high_frequency_share, highpass, spectrogram
from acutance.imaging.gms import gms_map, hard_mask, soft_mask
from acutance.imaging.resize import imresize, imresize_uint8
from acutance.imaging.smoothers import guided_filter_detail, least_squares_detail
from acutance.imaging.weightmap import difference_statistics, neighbour_difference, weight_map

__all__ = [
    "awgn",
    "bicubic_reduction",
    "blur",
    "degrade",
    "derive_columns",
    "difference_statistics",
    "edge_filters",
    "exact_detail",
    "extract_detail",
    "gaussian_blur",
    "gaussian_kernel",
    "gms_map",
    "guided_filter_detail",
    "hard_mask",
    "hessian_filters",
    "high_frequency_energy",
    "high_frequency_share",
    "highpass",
    "imresize",
    "imresize_uint8",
    "jpeg",
    "least_squares_detail",
    "lgs",
    "neighbour_difference",
    "random_blur",
    "random_kernel",
    "rgb_to_y",
    "soft_mask",
    "spectrogram",
    "weight_map",
]
