"""The parts that come with the package, by kind: the name that a file gives, and where the part is defined.

Nothing is imported to list them. A part is imported when a run needs it.
"""

from __future__ import annotations

from collections.abc import Mapping

PARTS: Mapping[str, Mapping[str, str]] = {
    "network": {
        "rrdbnet": "acutance.models.rrdbnet:RRDBNet",
        "msrresnet": "acutance.models.msrresnet:MSRResNet",
        "dsrgan": "acutance.models.dsrgan:DSRGAN",
        "eusr": "acutance.models.eusr:EUSR",
        "highpass": "acutance.models.highpass:HighPassNet",
        "wdsr": "acutance.models.wdsr:WDSR",
        "resnet": "acutance.models.resnet:ResNet",
        "hfa": "acutance.models.hfa:HFA",
        "dncnn": "acutance.models.dncnn:DnCNN",
        "nima": "acutance.models.nima:NIMA",
    },
    "discriminator": {
        "vgg": "acutance.models.vgg_discriminator:VGGDiscriminator",
        "eusr": "acutance.models.eusr_discriminator:EUSRDiscriminator",
    },
    "feature_network": {
        "vgg19": "acutance.models.features:VGG19",
        "resnet50": "acutance.models.features:ResNet50",
        "squeezenet": "acutance.models.features:SqueezeNet",
    },
    "loss": {
        "pixel": "acutance.losses.pixel:Pixel",
        "perceptual": "acutance.losses.perceptual:Perceptual",
        "dual_perceptual": "acutance.losses.dual_perceptual:DualPerceptual",
        "adversarial": "acutance.losses.adversarial:Adversarial",
        "earth_mover": "acutance.losses.scores:EarthMover",
        "score": "acutance.losses.scores:Score",
        "cross_entropy": "acutance.losses.classes:CrossEntropy",
    },
    "mask": {
        "gms": "acutance.losses.masks:GMS",
        "column": "acutance.losses.masks:ColumnMask",
    },
    "optimiser": {
        "adam": "torch.optim:Adam",
        "adamw": "torch.optim:AdamW",
        "nadam": "torch.optim:NAdam",
        "radam": "torch.optim:RAdam",
        "adamax": "torch.optim:Adamax",
        "adagrad": "torch.optim:Adagrad",
        "adadelta": "torch.optim:Adadelta",
        "rmsprop": "torch.optim:RMSprop",
        "sgd": "torch.optim:SGD",
    },
    "schedule": {
        "constant": "acutance.config.schedules:constant",
        "multi_step": "acutance.config.schedules:multi_step",
        "step": "acutance.config.schedules:step_decay",
        "cosine": "acutance.config.schedules:cosine",
        "cosine_restarts": "acutance.config.schedules:cosine_restarts",
        "linear": "acutance.config.schedules:linear",
        "one_cycle": "acutance.config.schedules:one_cycle",
    },
    "degradation": {
        "awgn": "acutance.imaging.degradations:awgn",
        "bicubic": "acutance.imaging.degradations:bicubic_reduction",
        "blur": "acutance.imaging.blurs:gaussian_blur",
        "blur_random": "acutance.imaging.blurs:random_blur",
        "jpeg": "acutance.imaging.degradations:jpeg",
        "paired": "acutance.imaging.degradations:paired",
    },
    "derivation": {
        "lgs": "acutance.imaging.derivations:lgs",
        "gif": "acutance.imaging.derivations:gif",
        "wls": "acutance.imaging.derivations:wls",
        "highpass": "acutance.imaging.frequency:highpass",
        "bicubic": "acutance.imaging.derivations:bicubic",
        "difference_statistics": "acutance.imaging.derivations:picture_statistics",
        "weight_map": "acutance.imaging.derivations:patch_weight_map",
    },
    "metric": {
        "psnr_y": "acutance.evaluation.metrics:PSNR_Y",
        "ssim_y": "acutance.evaluation.metrics:SSIM_Y",
        "ssim_y_wang": "acutance.evaluation.metrics:SSIM_Y_WANG",
        "psnr_rgb": "acutance.evaluation.metrics:PSNR_RGB",
        "ssim_rgb": "acutance.evaluation.metrics:SSIM_RGB",
        "niqe": "acutance.evaluation.metrics:NIQE",
        "ma": "acutance.evaluation.metrics:MA",
        "pi": "acutance.evaluation.metrics:PI",
        "lpips_squeeze": "acutance.evaluation.metrics:LPIPS_SQUEEZE",
        "lpips_alex": "acutance.evaluation.metrics:LPIPS_ALEX",
        "lpips_vgg": "acutance.evaluation.metrics:LPIPS_VGG",
        "high_frequency": "acutance.evaluation.metrics:HIGH_FREQUENCY",
        "high_frequency_share": "acutance.evaluation.metrics:HIGH_FREQUENCY_SHARE",
        "compressed_size": "acutance.evaluation.metrics:COMPRESSED_SIZE",
    },
    "measure": {
        "emd": "acutance.evaluation.validation:EMD",
        "emd_sum": "acutance.evaluation.validation:EMD_SUM",
        "srocc": "acutance.evaluation.validation:SROCC",
        "accuracy": "acutance.evaluation.validation:ACCURACY",
        "psnr_highpass": "acutance.evaluation.validation:PSNR_HIGHPASS",
    },
    "amount": {
        "selected_percent": "acutance.evaluation.amounts:SELECTED_PERCENT",
        "png_megabytes": "acutance.evaluation.amounts:PNG_MEGABYTES",
    },
    "protocol": {
        "y_crop4": "acutance.evaluation.protocols:Y_CROP4",
        "dsrgan": "acutance.evaluation.protocols:DSRGAN",
        "rgb_crop4": "acutance.evaluation.protocols:RGB_CROP4",
        "wdsr": "acutance.evaluation.protocols:WDSR",
        "hfa": "acutance.evaluation.protocols:HFA",
    },
}
"""Kind -> name -> `module:attribute`."""


def group(kind: str) -> str:
    """Return the group of entry points by which an installed package adds names, such as `acutance.networks`."""
    return f"acutance.{'losses' if kind == 'loss' else f'{kind}s'}"
