"""What records call things: the paper's models, data sets and methods, and what stands in for them in a small world."""

MODELS = ("rn18-timm", "rn50-timm", "rn50-torch", "rn50-swav", "rn50-clip", "vitb32-clip")
DATASETS = ("cifar10", "cifar100", "dtd", "eurosat", "flowers", "oxfordpets", "sun397", "ucf101")
METHODS = ("ZS", "LP", "FS", "FFT", "SSM", "SSFT")
SELF_SUPERVISED = ("SSM", "SSFT")

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

# By data set: the task that takes its place in the embedded world (`submasking.worlds.characters`), in a word and a
# sentence.
DATASET_STAND_INS = {
    "cifar10": (
        "digits",
        "1,797 real handwritten digits (UCI, 10 classes) in random colours: few classes, easy, as in CIFAR-10",
    ),
    "cifar100": (
        "cyrillic",
        "Cyrillic letters (64 classes): near relatives of the source task's letters, many more classes than digits",
    ),
    "dtd": ("box", "box drawing characters (128 classes): crossing strokes as the nearest thing to textures"),
    "eurosat": ("blocks", "block elements (32 classes): flat areas and shades, as fields seen from above"),
    "flowers": ("shapes", "geometric shapes (96 classes): symmetric forms, told apart by inner detail"),
    "oxfordpets": ("armenian", "Armenian capitals (38 classes): one kind of thing in look-alike breeds"),
    "sun397": ("arrows", "arrows (112 classes): far from the source task, the hardest of the eight"),
    "ucf101": ("operators", "mathematical operators (86 classes): compositions of a few simple parts"),
}
