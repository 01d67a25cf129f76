"""What records call things: the paper's models, data sets and methods, and what stands in for them in a small world."""

MODELS = ("rn18-timm", "rn50-timm", "rn50-torch", "rn50-swav", "rn50-clip", "vitb32-clip")
DATASETS = ("cifar10", "cifar100", "dtd", "eurosat", "flowers", "oxfordpets", "sun397", "ucf101")
# A method may have a variant, after a hyphen: another start of the scores (magnitude, squared), or a control that
# leaves something out (none: no mask; random: a random mask of the same density; frozen: norm statistics held).
METHODS = (
    "ZS", "LP", "FS", "FS-magnitude", "FS-squared", "FFT", "FS-none", "FS-random", "FS-frozen",
    "SSM", "SSM-squared", "SSM-none", "SSFT",
)  # fmt: skip
SELF_SUPERVISED = ("SSM", "SSM-squared", "SSM-none", "SSFT")

# By model: what profiles smoke and tiny pretrain in its place.
MODEL_STAND_INS = {
    "rn18-timm": "a ResNet of basic blocks trained on Latin letters with labels",
    "rn50-timm": "a ResNet of bottleneck blocks trained on Latin letters with labels, strong augmentation and "
    "label smoothing",
    "rn50-torch": "a ResNet of bottleneck blocks trained on Latin letters with labels, plain augmentation and a "
    "stepwise schedule",
    "rn50-swav": "a ResNet of bottleneck blocks trained on Latin letters without labels by SwAV",
    "rn50-clip": "open_clip's ResNet, made small, trained on Latin letters with their Unicode names as captions",
    "vitb32-clip": "open_clip's vision transformer, made small, trained on Latin letters with their Unicode names "
    "as captions",
}

# By data set: the task that takes its place in the embedded world (`submasking.worlds.sets`), in a word and a
# sentence.
DATASET_STAND_INS = {
    "cifar10": (
        "digits",
        "1,797 real handwritten digits (UCI, 10 classes) in random colours: few classes, easy, as in CIFAR-10; "
        "tested on other digits",
    ),
    "cifar100": (
        "cyrillic",
        "Cyrillic letters (63 classes): near relatives of the source task's letters, many more classes than digits; "
        "tested in other typefaces",
    ),
    "dtd": (
        "textures",
        "grey pieces of ten real photographs and scans (10 classes), textures as in DTD; tested on other regions of "
        "the same pictures",
    ),
    "eurosat": (
        "places",
        "coloured pieces of ten real photographs (10 classes, as many as EuroSAT has): parts of one place; tested on "
        "other regions of the same pictures",
    ),
    "flowers": (
        "georgian",
        "Georgian letters (82 classes): round forms that are told apart by detail; tested in other typefaces",
    ),
    "oxfordpets": (
        "armenian",
        "Armenian capitals (37 classes): one kind of thing in look-alike breeds; tested in other typefaces",
    ),
    "sun397": (
        "operators",
        "mathematical operators (96 classes), far from the source task; tested in a typeface of another design",
    ),
    "ucf101": (
        "syllabics",
        "Canadian syllabics (101 classes, as many as UCF101 has): few forms, turned and dotted; tested in another "
        "slant",
    ),
}
