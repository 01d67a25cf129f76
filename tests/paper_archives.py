"""The paper's eight data sets in miniature: archives and split files in the exact published layouts."""

import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
from PIL import Image

from submasking.worlds.paper.data import catalogue, cifar

NOWHERE = "http://127.0.0.1:9/file"  # nobody listens there
SIZE = 16
CLASSES = {
    "cifar10": ["airplane", "automobile"],
    "cifar100": ["apple", "aquarium_fish"],
    "dtd": ["banded", "polka-dotted"],
    "eurosat": ["Annual Crop Land", "Sea or Lake"],
    "flowers": ["pink primrose", "bird of paradise"],
    "oxfordpets": ["abyssinian", "american_bulldog"],
    "sun397": ["abbey", "indoor cathedral"],
    "ucf101": ["Apply_Eye_Makeup", "Yo_Yo"],
}
PROMPTED = {
    "cifar10": ("airplane", "automobile"),
    "cifar100": ("apple", "aquarium fish"),
    "dtd": ("banded", "polka-dotted"),
    "eurosat": ("annual crop land", "sea or lake"),
    "flowers": ("pink primrose", "bird of paradise"),
    "oxfordpets": ("abyssinian", "american bulldog"),
    "sun397": ("abbey", "indoor cathedral"),
    "ucf101": ("apply eye makeup", "yo yo"),
}
# the path of picture k of each class below the folder of pictures
PATHS = {
    "dtd": ("banded/banded_{:04}.jpg", "polka-dotted/polka-dotted_{:04}.jpg"),
    "eurosat": ("AnnualCrop/AnnualCrop_{}.jpg", "SeaLake/SeaLake_{}.jpg"),
    "flowers": ("image_0{:04}.jpg", "image_1{:04}.jpg"),
    "oxfordpets": ("Abyssinian_{}.jpg", "american_bulldog_{}.jpg"),
    "sun397": ("a/abbey/sun_{:04}.jpg", "c/cathedral/indoor/sun_{:04}.jpg"),
    "ucf101": ("Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c{:02}.jpg", "YoYo/v_YoYo_g01_c{:02}.jpg"),
}
BESIDE = {"dtd": "dtd/imdb/imdb.mat", "sun397": "SUN397/ClassName.txt", "oxfordpets": "images/Abyssinian_100.mat"}
TRAIN, VAL, TEST = 4, 2, 4  # pictures of two classes; CIFAR's train has all six


def colour(label, number):
    return (200, 10 + number, 30) if label == 0 else (20, 10 + number, 210)


def picture(label, number):
    """A wide picture whose middle is brighter than its ends; red is class 0, blue class 1."""
    image = Image.new("RGB", (36, 20), colour(label, number))
    image.paste(tuple(value // 2 for value in colour(label, number)), (0, 0, 6, 20))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def entries(dataset):
    """Part of the split -> [path, label, name], as in the split file; train and val are not sorted by class."""
    made, number = {}, 0
    for part, count in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        made[part] = []
        for _ in range(count // 2):
            for label in (1, 0):
                made[part].append([PATHS[dataset][label].format(number), label, CLASSES[dataset][label]])
            number += 1
    return made


def files(dataset):
    """Everything in the archive, by name."""
    if dataset.startswith("cifar"):
        return cifar_files(dataset)
    inside = catalogue.SETS[dataset].inside
    made = {f"{inside}/unlisted.jpg": picture(0, 99)}
    if dataset in BESIDE:
        made[BESIDE[dataset]] = b"of no use here"
    listed = [entry for part in entries(dataset).values() for entry in part]
    for number, (path, label, _) in enumerate(sorted(listed)):  # in another order than the split file's
        made[f"{inside}/{path}"] = picture(label, number)
    return made


def cifar_files(dataset):
    random, folder = np.random.default_rng(0), catalogue.SETS[dataset].inside

    def batch(count, key):
        return pickle.dumps({"data": random.integers(0, 256, (count, 3072), np.uint8), key: [0, 1] * (count // 2)})

    if dataset == "cifar10":
        made = {f"data_batch_{number}": batch(2, "labels") for number in range(1, 4)}
        made |= {"test_batch": batch(TEST, "labels"), "batches.meta": pickle.dumps({"label_names": CLASSES[dataset]})}
    else:
        made = {"train": batch(TRAIN + VAL, "fine_labels"), "test": batch(TEST, "fine_labels")}
        made["meta"] = pickle.dumps({"fine_label_names": CLASSES[dataset], "coarse_label_names": []})
    return {f"{folder}/{name}": content for name, content in made.items()}


def packed(name, content):
    """An archive of files by name, of the kind that its own name says."""
    file = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in content.items():
                archive.writestr(path, data)
    else:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for path, data in content.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def publish(monkeypatch, dataset, archive, split=None):
    """Let the hash of these bytes be the published one, and their counts; no address leads anywhere."""
    chosen = catalogue.SETS[dataset]
    changes = {"archive": _with_hash(chosen.archive, archive), "classes": 2}
    counts = (TRAIN + VAL, 0, TEST) if chosen.split is None else (TRAIN, VAL, TEST)
    changes |= dict(zip(("train", "val", "test"), counts, strict=True))
    if chosen.split is not None:
        changes["split"] = _with_hash(chosen.split, split)
    monkeypatch.setitem(catalogue.SETS, dataset, replace(chosen, **changes))
    if dataset.startswith("cifar"):
        _publish_cifar(monkeypatch, dataset)


def _with_hash(remote, content):
    kind = remote.digest.partition(":")[0]
    return replace(remote, address=NOWHERE, digest=kind and f"{kind}:{hashlib.new(kind, content).hexdigest()}")


def _publish_cifar(monkeypatch, dataset):
    reader = cifar.READERS[dataset]
    hashes = {
        name.rpartition("/")[2]: hashlib.md5(content).hexdigest() for name, content in cifar_files(dataset).items()
    }
    meta = reader.meta["filename"]
    test = [name for name in hashes if name.startswith("test")]
    train = [name for name in hashes if name not in (meta, *test)]
    monkeypatch.setattr(reader, "train_list", [[name, hashes[name]] for name in train])
    monkeypatch.setattr(reader, "test_list", [[name, hashes[name]] for name in test])
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": hashes[meta]})


def write(monkeypatch, folder, dataset):
    """Put a miniature of the data set into a folder of data; returns the archive's path."""
    chosen = catalogue.SETS[dataset]
    place = folder / chosen.folder
    place.mkdir(parents=True, exist_ok=True)
    archive = packed(chosen.archive.name, files(dataset))
    (place / chosen.archive.name).write_bytes(archive)
    split = None
    if chosen.split is not None:
        split = json.dumps(entries(dataset)).encode()
        (place / chosen.split.name).write_bytes(split)
    publish(monkeypatch, dataset, archive, split)
    return place / chosen.archive.name
