"""Profiles: the sizes, epochs and learning rates of every experiment, as plain dataclasses.

A profile names no result. The learning rates of the small world were chosen on validation images, never on test
images (`benchmarks/learning_rates.py`); those of profile paper are the paper's own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from submasking.records.names import DATASETS, MODELS, SELF_SUPERVISED

DECAY = 0.01  # weight decay of the paper's linear probe


@dataclass(frozen=True)
class Optimisation:
    """How one method trains.

    Attributes:
        lr: peak learning rate of what the method trains (scores for FS and SSM, weights for FFT and SSFT).
        epochs: passes over the training images.
        weight_decay: coupled decay of trained weights; scores never decay.
        warmup: share of the epochs with a linear warm-up, in [0, 1); cosine decay to 0 follows.
        head_lr: peak learning rate of the linear head (FS, FFT) or of projection and prototypes (SSM, SSFT).
        head_weight_decay: coupled decay of those.
        init: start of the scores of FS and SSM, a name of `submasking.masking.scores`; "constant" is the paper's.
        norms: "adapt" lets the norm statistics follow the task, "freeze" holds them.
    """

    lr: float
    epochs: int
    weight_decay: float = 0.0
    warmup: float = 0.0
    head_lr: float = 0.1
    head_weight_decay: float = 0.0
    init: str = "constant"
    norms: str = "adapt"


CONTROLS = ("FS-magnitude", "FS-none", "FS-random", "FS-frozen")  # after FS, whose density the random masks have
ALIKE = {"FS-random": ("FS-none",)}  # controls that train the same: a head
# what a variant of a method changes in its settings
VARIANTS: dict[str, dict[str, Any]] = {
    "magnitude": {"init": "magnitude"},
    "squared": {"init": "squared"},
    "frozen": {"norms": "freeze"},
}


@dataclass(frozen=True)
class Swav:
    """The self-supervised loss (Caron et al. 2020): crops, prototypes, queue.

    Attributes:
        crops: number of views of each size, large first.
        sizes: side of the views in pixels.
        dimensions: width of the projection.
        prototypes: number of cluster centres.
        queue: number of stored projections; 0 switches the queue off.
        queue_from: share of the epochs after which the queue is used.
        freeze_prototypes: number of first steps in which the prototypes stay as they are.
        scales: for each of the sizes the smallest and largest share of the image's area in a view; none takes those of
            `submasking.learning.augment.views`.
    """

    crops: tuple[int, ...]
    sizes: tuple[int, ...]
    dimensions: int = 128
    prototypes: int = 500
    queue: int = 512
    queue_from: float = 0.2
    freeze_prototypes: int = 0
    temperature: float = 0.1
    epsilon: float = 0.05
    iterations: int = 3
    scales: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Protocol:
    """Where the draft, the published paper and its authors' code differ, a switch each; all stand in the record.

    Attributes:
        selection: "convolutions" of a ResNet are masked, or what the code's filter by "name" finds: the norms on the
            downsampling path too.
        statistics: images are normalised with each network's "own" mean and std, or with CLIP's ("clip") for all.
        rates: learning rates change with every "step" or, as in the code, with every "epoch"; with a warm-up the first
            epoch has a rate of 0 then.
        subsets: few labels are drawn "by class", so that each keeps its share, or as in the code from "all" alike.
        rescale: "none" (the draft) or "variance" (the published paper), see `submasking.masking.masks.mask`.
        precision: of training: "float32", or "bfloat16" where torch's autocast takes it.
    """

    selection: str = "convolutions"
    statistics: str = "own"
    rates: str = "step"
    subsets: str = "by class"
    rescale: str = "none"
    precision: str = "float32"


@dataclass(frozen=True)
class Profile:
    """Everything that an experiment needs besides model, data set, method and seed.

    Attributes:
        image_size: side of the network's input in pixels.
        train_images: training images per data set (fewer where a set has fewer); None takes all.
        test_images: likewise for the test set.
        batch_size: images per step.
        seeds: the seeds of the grid.
        datasets: its data sets; others can be asked for by name.
        methods: settings by method, or by "method model" where a model needs its own; "method@10" for 10 % of the
            labels. A variant without its own takes those of its method.
        full_models: models that the grid adapts; the others get ZS and LP, as in Table 1.
        compared: methods with labels that these get.
        control_models: of these, the models for which the controls run.
        few_labels: methods of the label-sparsity figures with labels.
        no_labels: those without.
        sparse_datasets: data sets of the label-sparsity figures.
        label_percents: shares of the labels, in percent, of those figures.
        decays: weight decay of the linear probe by "model", or "model@10" for 10 % of the labels; the others have the
            paper's, and no search.
        same_steps: with fewer labels take as many more epochs, so that every share of the labels gets as many steps.
        neighbours: k of the weighted nearest-neighbour classifier.
        classes: use the first classes of each set only; None uses all.
        evaluated_on: split whose images judge a run: "test", or "validation" while settings are chosen.
        backbones: pretrained networks of each model; runs take them by turns of their seeds.
        pretraining: by model the recipe of its pretraining, "common" to all and "images" of the source task;
            in profile images what timm is told besides a model's name, and mean and std of its input.
        protocol: for the paper's own networks and data sets; None elsewhere.
    """

    name: str
    image_size: int
    train_images: int | None
    test_images: int | None
    batch_size: int
    seeds: tuple[int, ...]
    methods: dict[str, Optimisation]
    swav: Swav
    datasets: tuple[str, ...] = DATASETS
    full_models: tuple[str, ...] = ("rn18-timm", "rn50-swav", "vitb32-clip")
    compared: tuple[str, ...] = ("FS", "FS-squared", "FFT")
    control_models: tuple[str, ...] = ("rn18-timm", "rn50-swav", "vitb32-clip")
    few_labels: tuple[str, ...] = ("FS", "FS-squared", "FFT", "FS-none", "LP")
    no_labels: tuple[str, ...] = ("SSM", "SSM-squared", "SSM-none", "SSFT")
    sparse_datasets: tuple[str, ...] = ("cifar10", "cifar100", "sun397")
    label_percents: tuple[float, ...] = (10.0, 100.0)
    decays: dict[str, float] = field(default_factory=dict)
    same_steps: bool = True
    neighbours: int = 200
    classes: int | None = None
    evaluated_on: str = "test"
    backbones: int = 1
    pretraining: dict[str, Any] = field(default_factory=dict)
    protocol: Protocol | None = None

    @property
    def photographs(self) -> bool:
        """Whether its images are photographs, which may be mirrored; characters may not."""
        return self.name == "images" or self.protocol is not None

    def controls(self, model: str) -> tuple[str, ...]:
        """What the grid runs of a model beside `compared`; a transformer's norms have no statistics to be held."""
        if model not in self.control_models:
            return ()
        return tuple(name for name in CONTROLS if name != "FS-frozen" or not model.startswith("vit"))

    def method(self, method: str, model: str, labels: float = 100.0) -> Optimisation:
        """Settings of `method` for `model` and a share of the labels; ValueError names the methods that train."""
        base, _, variant = method.partition("-")
        for name in (method, *ALIKE.get(method, ()), base):
            for key in (f"{name}@{labels:g} {model}", f"{name}@{labels:g}", f"{name} {model}", name):
                if key in self.methods:
                    return replace(self.methods[key], **VARIANTS.get(variant, {}))
        raise ValueError(f"method must be one of {sorted(set(self.methods))}, got {method!r}")

    def probe(self, model: str, labels: float = 100.0) -> dict[str, Any]:
        """What `submasking.learning.probe.linear_probe` is told of a model and a share of the labels, in percent."""
        decay = self.decays.get(f"{model}@{labels:g}", self.decays.get(model))
        return {} if decay is None else {"decay": decay, "exact": True}


# By `benchmarks/learning_rates.py`; models that are not named use what was found for rn50-swav.
_SMALL = {
    "FS": Optimisation(lr=1500.0, epochs=6, warmup=0.25, head_lr=0.0032),
    "FS rn18-timm": Optimisation(lr=160.0, epochs=6, warmup=0.25, head_lr=0.1),
    "FS vitb32-clip": Optimisation(lr=61.0, epochs=6, head_lr=0.1),
    "FS-magnitude": Optimisation(lr=89.0, epochs=6, warmup=0.25, head_lr=0.032),
    "FS-magnitude rn18-timm": Optimisation(lr=440.0, epochs=6, warmup=0.25, head_lr=0.1),
    "FS-magnitude vitb32-clip": Optimisation(lr=150.0, epochs=6, head_lr=0.032),
    "FS-squared": Optimisation(lr=3.2, epochs=6, warmup=0.25, head_lr=0.01),
    "FS-squared rn18-timm": Optimisation(lr=0.5, epochs=6, warmup=0.25, head_lr=0.1),
    "FS-squared vitb32-clip": Optimisation(lr=0.3, epochs=6, head_lr=0.032),
    "FFT": Optimisation(lr=0.95, epochs=6, weight_decay=5e-4, head_lr=0.0032),
    "FFT rn18-timm": Optimisation(lr=0.17, epochs=6, weight_decay=5e-4, head_lr=0.01),
    "FFT vitb32-clip": Optimisation(lr=0.032, epochs=6, weight_decay=5e-4, head_lr=0.1),
    "FS rn50-timm": Optimisation(lr=47.0, epochs=6, warmup=0.25, head_lr=0.1),
    "FS rn50-torch": Optimisation(lr=360.0, epochs=6, warmup=0.25, head_lr=0.032),
    "FS rn50-clip": Optimisation(lr=140.0, epochs=6, warmup=0.25, head_lr=0.1),
    "FS-squared rn50-timm": Optimisation(lr=3.2, epochs=6, warmup=0.25, head_lr=0.032),
    "FS-squared rn50-torch": Optimisation(lr=2.4, epochs=6, warmup=0.25, head_lr=0.1),
    "FS-squared rn50-clip": Optimisation(lr=0.21, epochs=6, warmup=0.25, head_lr=0.01),
    "FFT rn50-timm": Optimisation(lr=0.095, epochs=6, weight_decay=5e-4, head_lr=0.1),
    "FFT rn50-torch": Optimisation(lr=0.3, epochs=6, weight_decay=5e-4, head_lr=0.001),
    "FFT rn50-clip": Optimisation(lr=0.00082, epochs=6, weight_decay=5e-4, head_lr=0.032),
    "FS@10": Optimisation(lr=150.0, epochs=6, warmup=0.25, head_lr=0.01),
    "FS-squared@10": Optimisation(lr=0.057, epochs=6, warmup=0.25, head_lr=0.01),
    "FFT@10": Optimisation(lr=0.091, epochs=6, weight_decay=5e-4, head_lr=0.01),
    "SSM": Optimisation(lr=280.0, epochs=12, warmup=0.25, head_lr=0.6, head_weight_decay=1e-6),
    "SSM-squared": Optimisation(lr=2.6, epochs=12, warmup=0.25, head_lr=0.6, head_weight_decay=1e-6),
    "SSFT": Optimisation(lr=0.28, epochs=12, weight_decay=1e-6, warmup=0.25, head_lr=0.6),
    # of controls that train a head alone
    "FS-none": Optimisation(lr=0.0, epochs=6, warmup=0.25, head_lr=0.087),
    "FS-none rn18-timm": Optimisation(lr=0.0, epochs=6, warmup=0.25, head_lr=0.038),
    "FS-none vitb32-clip": Optimisation(lr=0.0, epochs=6, head_lr=0.071),
    "FS-none@10": Optimisation(lr=0.0, epochs=6, warmup=0.25, head_lr=0.018),
    # rivals of masks, see `submasking.experiments.analyses.rivals`
    "norms": Optimisation(lr=0.87, epochs=6, warmup=0.25, head_lr=0.032),
    "norms vitb32-clip": Optimisation(lr=1.0, epochs=6, warmup=0.25, head_lr=0.1),
    "biases": Optimisation(lr=1.8, epochs=6, warmup=0.25, head_lr=0.032),
    "biases vitb32-clip": Optimisation(lr=0.87, epochs=6, warmup=0.25, head_lr=0.032),
    "LoRA": Optimisation(lr=0.3, epochs=6, warmup=0.25, head_lr=0.032),
    "LoRA vitb32-clip": Optimisation(lr=0.1, epochs=6, warmup=0.25, head_lr=0.032),
    "one-bit LoRA": Optimisation(lr=0.3, epochs=6, warmup=0.25, head_lr=0.1),
    "one-bit LoRA vitb32-clip": Optimisation(lr=0.1, epochs=6, warmup=0.25, head_lr=0.1),
}

# of the linear probe, by the same search on the same images
_DECAYS = {
    "rn18-timm": 7.5,
    "rn50-timm": 11.0,
    "rn50-torch": 10.0,
    "rn50-swav": 0.66,
    "rn50-swav@10": 3.9,
    "rn50-clip": 0.13,
    "vitb32-clip": 0.32,
}

_PRETRAINING: dict[str, Any] = {
    "images": 12_000,
    "common": {
        "kind": "supervised",
        "optimizer": "sgd",
        "schedule": "cosine",
        "style": "colours",
        "lr": 0.1,
        "weight_decay": 5e-4,
        "smoothing": 0.0,
        "batch_size": 64,
        "epochs": 5,
        "seed": 0,
    },
    "rn18-timm": {"architecture": "resnet18-small"},
    "rn50-timm": {"architecture": "resnet50-small", "style": "strong", "smoothing": 0.1},
    "rn50-torch": {"architecture": "resnet50-small", "style": "plain", "schedule": "steps"},
    "rn50-swav": {
        "architecture": "resnet50-small",
        "kind": "swav",
        "lr": 0.6,
        "weight_decay": 1e-6,
        "dimensions": 64,
        "prototypes": 200,
        "queue": 512,
        "freeze_prototypes": 0,
        "sizes": (20, 20),
        "epochs": 16,
    },
    "rn50-clip": {
        "architecture": "clip-resnet",
        "kind": "clip",
        "optimizer": "adamw",
        "lr": 2e-3,
        "batch_size": 128,
        "epochs": 4,
    },
    "vitb32-clip": {
        "architecture": "clip-vit",
        "kind": "clip",
        "optimizer": "adamw",
        "lr": 2e-3,
        "batch_size": 128,
        "epochs": 6,
    },
}
_FEW_IMAGES = {"images": 96} | {
    name: settings | {"epochs": 1} | ({"prototypes": 8, "dimensions": 16, "queue": 64} if "queue" in settings else {})
    for name, settings in _PRETRAINING.items()
    if name != "images"
}

TINY = Profile(
    name="tiny",
    image_size=24,
    train_images=2000,
    test_images=1000,
    batch_size=64,
    seeds=(0,),
    backbones=2,
    full_models=MODELS,
    methods=_SMALL,
    decays=_DECAYS,
    swav=Swav(crops=(2,), sizes=(20,), dimensions=64, prototypes=200, queue=512, queue_from=0.0),
    neighbours=20,
    pretraining=_PRETRAINING,
)

SMOKE = replace(
    TINY,
    name="smoke",
    datasets=("cifar10", "cifar100", "dtd", "sun397"),
    full_models=TINY.control_models,
    train_images=48,
    test_images=24,
    batch_size=16,
    methods={name: replace(settings, epochs=2) for name, settings in _SMALL.items()},
    swav=replace(TINY.swav, crops=(2, 2), sizes=(20, 14), prototypes=8, dimensions=16, queue=32),
    sparse_datasets=("cifar10",),
    neighbours=5,
    classes=8,
    pretraining=_FEW_IMAGES,
)

# Rates for a short run on photographs, by the training loss of a small MobileNetV2; no test image chose them.
IMAGES = replace(
    TINY,
    name="images",
    image_size=64,
    train_images=None,
    test_images=None,
    seeds=(0,),
    decays={},
    compared=("FS", "FFT"),
    methods={
        "FS": Optimisation(lr=15.0, epochs=6, warmup=0.25, head_lr=0.01),
        "FFT": Optimisation(lr=0.01, epochs=6, weight_decay=5e-4, head_lr=0.01),
    },
    pretraining={},
)

# What the paper used (draft and published form), and no more than that.
PUBLISHED = {
    "FS": Optimisation(lr=50.0, epochs=150, warmup=40 / 150, head_lr=7e-4, head_weight_decay=1e-4),
    "FS vitb32-clip": Optimisation(lr=10.0, epochs=32),
    "FFT": Optimisation(lr=1e-3, epochs=150, weight_decay=5e-4, head_lr=1e-3, head_weight_decay=5e-4),
    "FFT rn50-swav": Optimisation(lr=0.15, epochs=150, weight_decay=1e-6, head_lr=0.15, head_weight_decay=1e-6),
    "SSM": Optimisation(lr=50.0, epochs=150, head_lr=0.15, head_weight_decay=1e-6),
    "SSFT": Optimisation(lr=0.15, epochs=150, weight_decay=1e-6, head_lr=0.15, head_weight_decay=1e-6),
}
# The squared start follows plain fine-tuning (theorem "shadow"), so it begins with fine-tuning's rates.
_SQUARED = {
    f"FS-squared{model}": replace(PUBLISHED["FS"], lr=PUBLISHED[f"FFT{model}"].lr) for model in ("", " rn50-swav")
} | {"SSM-squared": replace(PUBLISHED["SSM"], lr=PUBLISHED["SSFT"].lr)}

PAPER = Profile(
    name="paper",
    image_size=224,
    train_images=None,
    test_images=None,
    batch_size=64,
    seeds=(0,),
    methods=PUBLISHED | _SQUARED,
    swav=Swav(
        crops=(2, 6),
        sizes=(224, 96),
        queue_from=30 / 150,
        freeze_prototypes=5005,
        scales=((0.14, 1.0), (0.05, 0.14)),
    ),
    compared=("FS", "FFT"),
    control_models=(),
    few_labels=("FS", "FFT", "LP"),
    no_labels=("SSM", "SSFT"),
    same_steps=False,
    protocol=Protocol(),
)
# as the authors' code has it, and as the published tables were made
FAITHFUL = replace(
    PAPER,
    name="paper-faithful",
    protocol=Protocol(selection="name", statistics="clip", rates="epoch", subsets="all", rescale="variance"),
)
BFLOAT16 = replace(PAPER, name="paper-bfloat16", protocol=Protocol(precision="bfloat16"))

PROFILES = {profile.name: profile for profile in (SMOKE, TINY, IMAGES, PAPER, FAITHFUL, BFLOAT16)}


def profile(name: str) -> Profile:
    """The profile called `name`; ValueError lists the profiles there are."""
    if name not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}; got {name!r}")
    return PROFILES[name]


def settings(name: str, method: str, model: str, labels: float = 100.0) -> dict[str, Any]:
    """Hyper-parameters of one method as a plain dict, the way a record stores them."""
    chosen = profile(name)
    recipe: dict[str, Any] = {
        "image_size": chosen.image_size,
        "train_images": chosen.train_images,
        "test_images": chosen.test_images,
        "batch_size": chosen.batch_size,
        "neighbours": chosen.neighbours,
    }
    if method not in ("ZS", "LP"):
        recipe |= asdict(chosen.method(method, model, labels)) | {"same_steps": chosen.same_steps}
    if method in ("LP", *SELF_SUPERVISED):  # the latter are judged by probes
        shares = (labels,) if method == "LP" else chosen.label_percents
        probes = {f"{share:g}": told for share in shares if (told := chosen.probe(model, share))}
        recipe |= {"probe": probes} if probes else {}
    if method in SELF_SUPERVISED:  # without what it does not ask for: the recipes of records from before stay theirs
        recipe["swav"] = {name: value for name, value in asdict(chosen.swav).items() if name != "scales" or value}
    if chosen.protocol is not None:
        recipe["protocol"] = asdict(chosen.protocol)
    return recipe
