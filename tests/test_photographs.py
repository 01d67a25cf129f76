"""A study of photographs: rates chosen without the test images, resumed without repetition, told with its doubts."""

import errno
import json
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from submasking.experiments import notebooks, photographs
from submasking.experiments.photographs import __main__ as program
from submasking.experiments.photographs import study, trials, why
from submasking.records import photographs as records
from submasking.records import predictions
from submasking.report import photographs as report


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A study of noise in two colours by a small network."""
    monkeypatch.setenv("SUBMASKING_RESULTS", str(tmp_path / "results"))
    random = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 6)):
        for number, name in enumerate(("dark", "light")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(100 * number, 100 * number + 120, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{index}.png")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "weights.safetensors")
    return photographs.Settings(
        data=str(tmp_path / "photos"), model="test_resnet", weights=str(tmp_path / "weights.safetensors"),
        from_stage="layer3", size=32, images=20, test_images=12, epochs=1, views=2, tries=1, seeds=1, batch_size=8,
    )  # fmt: skip


def test_a_study_goes_on_where_it_was_interrupted(settings, monkeypatch, capsys):
    whole, calls = trials.run, []

    def interrupted(place, trial, **options):
        if len(calls) == 8:
            raise KeyboardInterrupt
        calls.append(trial)
        return whole(place, trial, **options)

    monkeypatch.setattr(study, "run_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.run(settings, progress=False)
    assert [trial.split for trial in calls] == ["validation"] * 6 + ["test"] * 2
    monkeypatch.setattr(
        study, "run_trial", lambda place, trial, **options: calls.append(trial) or whole(place, trial, **options)
    )
    found = photographs.record(settings, progress=False)
    assert len(calls) == len(set(calls)) == 13
    assert [entry["way"] for entry in found["found"]] == list(records.MAIN)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("[14/14, 0 s left] FS-squared-all-0.1-seed0-test")
    rows = report.table(found)
    assert list(rows.index) == list(records.MAIN)
    assert rows.low.isna().all()  # of one seed
    assert rows.KiB.notna().sum() == 4
    assert (rows.task[rows.KiB.notna()] > rows.KiB[rows.KiB.notna()]).all()
    assert "On photos (12 test images, one training each" in report.sentence(found)
    assert report.tried(found).notna().sum(axis=1)["FS late"] == 1


@pytest.mark.slow
def test_a_study_of_all_ways_is_kept_and_read_as_it_was(settings, tmp_path, capsys):
    settings = trials.Settings(**(vars(settings) | {"seeds": 2}))
    words = [f"--{name.replace('_', '-')}={value}" for name, value in vars(settings).items() if name != "data"]
    asked = [settings.data, *words, "--ways", "all, unlabelled", "--shares", "50", "--curves", "--quiet"]
    assert program.main(asked) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    (kept,) = records.read(tmp_path / "results" / "photographs")
    assert report.sentence(kept) == said
    assert report.ways(kept) == list(records.WAYS)
    assert report.ways(kept, 50.0) == [way for way in records.WAYS if way in records.FEW + records.UNLABELLED]
    assert settings.data not in json.dumps(kept)
    assert settings.weights not in json.dumps(kept)
    rates = {way: [rate for rate, _ in kept["curves"][way]] for way in study.SAME}
    assert set(map(tuple, rates.values())) == {study.RATES}
    # three ways of one seed, twice, and two seeds of three ways
    assert len(kept["alike"]) == 9
    # the record has all that is asked for; without it, all trials are still there
    assert program.main(asked) == 0
    assert "(read)" not in capsys.readouterr().out
    assert records.read(tmp_path / "results" / "photographs") == [kept]
    shutil.rmtree(tmp_path / "results" / "photographs")
    assert program.main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("(read)" in line for line in lines) == sum(line.startswith("[") for line in lines) > 0
    (again,) = records.read(tmp_path / "results" / "photographs")
    assert {name: value for name, value in again.items() if name != "created"} == {
        name: value for name, value in kept.items() if name != "created"
    }


def test_what_a_record_lacks_is_added_and_what_it_has_stays(settings, tmp_path, monkeypatch):
    """Also where the trials that it was made from are gone."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in vars(settings).items() if name != "data"]
    asked = [settings.data, *words, "--quiet", "--ways"]
    folder, trained = tmp_path / "results" / "photographs", []
    assert program.main([*asked, "FS late"]) == 0
    (first,) = records.read(folder)
    shutil.rmtree(tmp_path / "results" / "images")
    whole = trials.run
    monkeypatch.setattr(
        study, "run_trial", lambda place, trial, **told: trained.append(trial.way) or whole(place, trial, **told)
    )
    assert program.main([*asked, "LoRA late, FS late, biases late"]) == 0
    (more,) = records.read(folder)
    assert set(trained) == {"LoRA late", "biases late"}
    assert report.ways(more) == [records.PROBE, records.RIVAL, "FS late", "biases late", "LoRA late"]
    assert [entry for entry in more["found"] if entry["way"] in report.ways(first)] == first["found"]
    assert [made["ways"] for made in more["earlier"]] == [sorted(report.ways(first))]
    rows = report.table(more)
    assert 0 < rows.bits["biases late"] < rows.bits["LoRA late"]
    trained.clear()
    assert program.main([*asked, "LoRA late"]) == 0
    assert trained == []
    assert records.read(folder) == [more]


@pytest.mark.parametrize("change", [{"epochs": 2}, {"images": 10}, {"size": 40}])
def test_a_record_of_another_study_is_not_added_to(settings, change):
    before = photographs.record(settings, "FS late", progress=False)
    other = trials.Settings(**(vars(settings) | change))
    ((name, now),) = change.items()
    said = f"a record must be of the same study to be added to; {name} of its settings was {vars(settings)[name]}"
    with pytest.raises(ValueError, match=f"{said} and is {now}: move"):
        photographs.record(other, "biases late", before=before, progress=False)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.json"), 1, "'a.json'; make room there"),
        (PermissionError(errno.EACCES, "Permission denied", "a.json"), 1, "name a place that you may write to"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on"),
    ],
)
def test_what_ends_a_study_is_one_line(raised, code, said, settings, monkeypatch, capsys):
    def ends(*unused, **named):
        raise raised

    monkeypatch.setattr(study.atomic, "write", ends)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in vars(settings).items() if name != "data"]
    assert program.main([settings.data, *words, "--quiet"]) == code
    assert said in capsys.readouterr().err


def test_a_stage_that_is_none_is_told_before_anything_is_trained(settings, monkeypatch, capsys):
    monkeypatch.setattr(study, "best_decay", None)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in vars(settings).items() if name != "data"]
    assert program.main([settings.data, *words, "--from-stage=stages.2", "--quiet"]) == 1
    said = capsys.readouterr()
    assert "stages.2" in said.err
    assert "LP-search" not in said.out


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_rate_of_the_head_that_trains_nothing_is_refused(settings, rate):
    with pytest.raises(ValueError, match="head_lr must be a finite number, at least 0"):
        trials.Settings(**(vars(settings) | {"head_lr": rate}))


@pytest.mark.parametrize("shares", [(0.0,), (-5.0,), (100.0,), (float("nan"),), (5.0, 25.0, 5.0)])
def test_shares_of_the_labels_that_are_none_or_twice_are_refused_first(settings, shares, monkeypatch):
    monkeypatch.setattr(study, "run_trial", None)
    with pytest.raises(ValueError, match="shares of the labels must lie above 0 and below 100 percent, each once"):
        study.run(settings, "main", shares, progress=False)


def test_adapters_learn_in_the_late_stages_only_and_not_beside_depthwise_kernels(settings):
    told = vars(settings) | {"model": "test_efficientnet", "from_stage": "blocks.2"}
    network = timm.create_model("test_efficientnet", num_classes=0, pad_type="same", bn_eps=1e-3)
    save_file(network.state_dict(), settings.weights)
    place = trials.Place(trials.Settings(**told))
    trunk = place.trained(trials.Trial("LoRA late", 0.1, 0, "validation"), False).trunk
    learnt = [name for name, weights in trunk.named_parameters() if weights.requires_grad]
    assert learnt
    assert all(".lora_" in name and "conv_dw" not in name for name in learnt)
    assert not any(name.startswith(("blocks.0", "blocks.1", "conv_stem")) for name in learnt)
    assert 0 < place.late < sum(weights.numel() for weights in place.backbone.trunk.parameters())


def test_shares_that_are_asked_for_later_are_not_missing(settings):
    """What was kept of a training without labels for fewer shares is not taken for more."""
    for shares in ((), (50.0,), (25.0, 50.0)):
        found = study.run(settings, "SSM late", shares, progress=False)
        assert [entry["share"] for entry in found if entry["way"] == "SSM late"] == [100.0, *shares]


def test_what_a_network_lost_is_counted_by_layer_and_size(settings):
    place = trials.Place(settings)
    for way in ("FS-squared late", "FFT late", "norms late", "top-50% late", "FS-pointwise late"):
        told = trials.run(place, trials.Trial(way, 0.5, 0, "validation"))["why"]
        assert set(told["norms"]) == {"mean", "variance"}
        if way == "norms late":
            assert "layers" not in told
            continue
        gone, whole = np.array(list(told["layers"].values())).sum(0)
        assert 0 <= gone <= whole
        assert np.mean(told["sizes"]) == pytest.approx(gone / whole, abs=0.01)
        if way == "top-50% late":
            assert gone / whole == pytest.approx(0.5, abs=0.01)


def test_masks_from_the_square_are_the_signs_that_plain_sgd_would_turn(settings):
    """In one step masks and fine-tuning see the same network, so the weights that go are the same."""
    place = trials.Place(trials.Settings(**(vars(settings) | {"batch_size": 64})))
    adapted = [place.trained(trials.Trial(way, 30.0, 0, "validation"), False) for way in study.SAME]
    turned, off = (why.kept(place.backbone.trunk, one) for one in adapted)
    found = why.overlap(turned, off)
    assert found["first"] > 0.01
    assert found["agreement"] > 0.97  # fine-tuning has a small decay besides


@pytest.mark.parametrize("shares", [(0.2, 0.5), (0.0, 0.3), (1.0, 1.0)])
def test_overlap_is_nought_for_chance_and_one_for_the_same(shares):
    random = torch.Generator().manual_seed(0)
    one, other = ({"a": torch.rand(300, 300, generator=random) >= share} for share in shares)
    assert why.overlap(one, other)["agreement"] == pytest.approx(0, abs=0.02) or 0 in shares or shares == (1.0, 1.0)
    same = why.overlap(one, one)
    assert same["both"] == pytest.approx(shares[0], abs=0.01)
    assert same["agreement"] == pytest.approx(1) or shares[0] in (0, 1)
    with pytest.raises(ValueError, match="same tensors"):
        why.overlap(one, {"b": other["a"]})


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ("main", 5),
        ("late", 4),
        ("FS late", 1),
        ("late, FS all", 5),
        ("all", len(records.WAYS) - 5),
        ("unlabelled", 3),
        ("choices", 7),
        ("rivals", 3),
    ],
)
def test_ways_are_asked_for_by_name_or_group(asked, more):
    chosen = records.chosen(asked)
    assert {records.PROBE, records.RIVAL} <= set(chosen)
    assert len(chosen) == more + 2
    with pytest.raises(ValueError, match="ways must be main, late, held, choices, rivals, unlabelled, all, or"):
        records.chosen("FS-late")


@pytest.mark.parametrize("damage", ["", "[]", '{"schema": 0}', '{"schema": 1, "name": "a"}'])
def test_a_file_that_is_no_study_is_refused(tmp_path, damage):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "set.json").write_text(damage)
    with pytest.raises(ValueError, match="must be a study of photographs"):
        records.read(tmp_path)


def test_rates_see_no_test_image_and_the_last_training_sees_all_others(settings):
    place = trials.Place(settings)
    (part, apart), (train, test) = place.images("validation"), place.images("test")
    assert (len(part), len(apart), len(train), len(test)) == (16, 4, 20, 12)
    assert apart.labels.bincount().tolist() == [2, 2]

    def content(images):
        return {image.numpy().tobytes() for image in images.images}

    assert content(part) | content(apart) == content(train)
    assert not content(part) & content(apart)
    assert not content(train) & content(test)


def test_a_folder_of_validation_images_is_used(settings, tmp_path):
    (tmp_path / "photos" / "test").rename(tmp_path / "photos" / "val")
    for name in ("dark", "light"):
        (tmp_path / "photos" / "test" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "photos" / "test" / name / "0.png")
    place = trials.Place(settings)
    assert [len(images) for images in place.images("validation")] == [20, 12]
    assert [len(images) for images in place.images("test")] == [32, 2]


def test_another_setting_or_picture_is_another_study(settings, tmp_path):
    first = study.folder_of(settings)
    changed = trials.Settings(**(vars(settings) | {"epochs": 2}))
    more = trials.Settings(**(vars(settings) | {"tries": 3, "seeds": 2}))
    assert study.folder_of(more) == first != study.folder_of(changed)
    Image.new("RGB", (32, 32)).save(tmp_path / "photos" / "train" / "dark" / "new.png")
    assert study.folder_of(settings) != first


def climb(score, begin, tries):
    tried = {}
    while len(tried) < tries:
        rate = study.following(tried, begin)
        assert rate not in tried
        tried[rate] = score(rate)
    return tried


@pytest.mark.parametrize("peak", [0.001, 0.03, 0.1, 0.25, 2.0])
def test_rates_are_climbed_towards_the_best(peak):
    def score(rate):
        return 1 - abs(np.log(rate / peak))

    tried = climb(score, 0.1, 9)
    assert abs(np.log(study.best(tried) / peak)) < np.log(1.8)
    assert list(tried)[:3] == [0.1, 0.3, 0.033]


def test_a_training_that_goes_out_of_bounds_is_a_rate_that_is_not_chosen(settings, monkeypatch):
    def failing(place, trial, **options):
        if trial.rate > 20:
            raise FloatingPointError("loss is nan")
        return {"accuracy": 0.5}

    monkeypatch.setattr(study, "run_trial", failing)
    log = study._Log(trials.Settings(**(vars(settings) | {"tries": 3})), [("FS late", 100.0)], False)
    rate, tried, _ = study._rates(log, "FS late", 100.0)
    assert tried[30.0] == -1
    assert rate == 10.0
    kept = json.loads((log.folder / "FS-late-30-seed0-validation.json").read_text())
    assert kept["failed"] == "loss is nan"
    with pytest.raises(FloatingPointError):
        log.made(trials.Trial("FS late", 30.0, 0, "test"))


@pytest.mark.parametrize(
    ("again", "chosen"),
    [({30.0: 0.5, 90.0: 0.1}, 30.0), ({30.0: 0.3, 90.0: 0.7}, 90.0), ({30.0: 0.4, 90.0: 0.3}, 30.0)],
)
def test_the_best_two_rates_meet_again_with_another_seed(settings, monkeypatch, again, chosen):
    def run(place, trial, **options):
        first = {30.0: 0.6, 90.0: 0.7, 10.0: 0.2}
        return {"accuracy": again[trial.rate] if trial.seed else first[trial.rate]}

    monkeypatch.setattr(study, "run_trial", run)
    log = study._Log(trials.Settings(**(vars(settings) | {"tries": 3})), [("FS late", 100.0)], False)
    rate, tried, final = study._rates(log, "FS late", 100.0)
    assert set(final) == {30.0, 90.0}
    assert set(tried) == {10.0, 30.0, 90.0}
    assert rate == chosen
    assert log.number == log.total - settings.seeds - 1  # all but the probe's search and the last trainings


def test_each_seed_sets_other_images_apart(settings):
    place = trials.Place(settings)
    apart = [{image.numpy().tobytes() for image in place.images("validation", seed)[1].images} for seed in (0, 1)]
    assert apart[0] != apart[1]
    for seed in (0, 1):
        train, judged = place.images("validation", seed)
        assert not {image.numpy().tobytes() for image in train.images} & apart[seed]
        assert len(train) + len(judged) == len(place.images("test")[0])
    assert place.images("test", 0) is place.images("test", 1)


def told(shares, seeds=3, ways=records.MAIN):
    """What a study would have found, with these shares of 400 test images right."""
    hard = np.random.default_rng(0).random((seeds, 400))
    found = [
        {
            "way": way, "rate": 1.0, "seed": seed, "share": 100.0, "chosen": [[1.0, share]],
            "predictions": predictions.pack((hard[seed] > share).astype(int).tolist()),
        }
        for way, share in (dict.fromkeys(ways, 0.8) | shares).items()
        for seed in range(seeds)
    ]  # fmt: skip
    return {"name": "birds", "judged": {"labels": predictions.pack([0] * 400), "test": "birds"}, "found": found}


def test_the_sentence_says_what_the_intervals_allow():
    said = report.sentence(told({"LP": 0.5, "FS late": 0.3, "FS-squared late": 0.97}))
    assert "On birds (400 test images, 3 trainings each, 95 % intervals)" in said
    assert "which gains over it (+" in said
    assert "masks of the same layers are ahead of it (+" in said
    assert "and behind it (-" in said
    assert "nan" not in said
    level = report.sentence(told({}))
    assert "which is not told apart from it" in level
    assert level.count("not told apart from it") >= 3
    alone = report.sentence(told({"FS late": 0.1}, seeds=1))
    assert "ahead of it" not in alone
    assert "behind it" not in alone
    assert "no interval from one training" in alone
    assert "all layers" in alone
    assert "all layers" not in report.sentence(told({}, ways=records.GROUPS["late"]))
    with pytest.raises(ValueError, match="none of FS late"):
        report.sentence(told({}, ways=("LP", "FFT late", "FS-squared late")))


def test_the_table_holds_the_projects_own_intervals():
    rows = report.table(told({"FS late": 0.5}))
    assert ((rows.low < rows.accuracy) & (rows.accuracy < rows.high)).all()
    assert rows.ahead["FFT late"] == 0
    assert rows["ahead high"]["FS late"] < 0


@pytest.mark.parametrize(
    ("change", "said"),
    [({"tries": 0}, "tries must be at least 1"), ({"data": ""}, "data must be"), ({"from_stage": ""}, "from_stage")],
)
def test_settings_out_of_range_are_refused(settings, change, said):
    with pytest.raises(ValueError, match=said):
        trials.Settings(**(vars(settings) | change))


@pytest.mark.slow
def test_the_notebook_runs(settings, tmp_path):
    given = {name: value for name, value in vars(settings).items() if name not in ("head_lr", "batch_size")}
    given["ways"] = "late"
    given |= {"model": "test_efficientnet", "from_stage": "blocks.2"}  # it takes what profile images tells timm
    network = timm.create_model(given["model"], num_classes=0, pad_type="same", bn_eps=1e-3)
    save_file(network.state_dict(), given["weights"])
    path = notebooks.execute("photographs", given, tmp_path / "out.ipynb", progress=False)
    assert "a linear probe is right for" in path.read_text()


def test_the_notebook_takes_the_settings(settings):
    known = notebooks.known_parameters("photographs")
    assert set(known) == {*vars(settings), "ways"} - {"head_lr", "batch_size"}
    assert notebooks.output_path("photographs", {"size": 96}).parts[-3:-1] == ("images", "notebooks")
