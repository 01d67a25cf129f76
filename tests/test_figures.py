import io
import re

import matplotlib
import numpy as np
import pytest
import synthetic
from bookext import svg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from submasking.records.names import DATASETS
from submasking.records.profiles import profile
from submasking.report import figures, frames, storage, verdicts


@pytest.fixture(scope="module")
def frame():
    return frames.to_frame(synthetic.records())


@pytest.fixture(scope="module")
def stored(frame):
    return frame.join(storage.columns(synthetic.records()))


def accuracy(frame):
    return frame[(frame.model == "rn18-timm") & (frame.labels == 100)]


def sparse(frame):
    return frame[(frame.model == "rn50-swav") & frame.dataset.isin(["cifar10", "cifar100", "sun397"])]


def heights(axes):
    bars = sorted(axes.patches, key=lambda patch: patch.get_x())
    return [patch.get_height() for patch in bars if patch.get_height() > 0]


def dots(axes):
    """Values of the large dots, from the top."""
    found = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    return [line.get_xdata()[0] for line in sorted(found, key=lambda line: line.get_ydata()[0])]


def spans(axes):
    """Ends of the intervals, from the top."""
    lines = [line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    found = [line for line in lines if line.get_ydata()[0] == line.get_ydata()[1]]
    return [tuple(line.get_xdata()) for line in sorted(found, key=lambda line: line.get_ydata()[0])]


@pytest.mark.parametrize("percent", [10.0, 100.0])
def test_label_sparsity_draws_five_means_per_data_set(frame, percent):
    figure = figures.label_sparsity(sparse(frame), percent)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["cifar10", "cifar100", "sun397"]
    rows = sparse(frame)[sparse(frame).dataset == "sun397"]
    expected = [rows[(rows.method == method) & (rows.labels == percent)].top1.mean() for method in ("LP", "FS", "FFT")]
    expected += [rows[rows.method == method][f"lp@{percent:g}"].mean() for method in ("SSM", "SSFT")]
    assert dots(figure.axes[2]) == pytest.approx(expected)


def test_methods_draws_lp_fs_and_fft_with_intervals_for_each_of_eight_tasks(frame):
    axes = figures.methods(accuracy(frame)).axes[0]
    found = verdicts.intervals(accuracy(frame)).set_index(["dataset", "method"])
    expected = [found.loc[name, method] for name in DATASETS for method in ("LP", "FS", "FFT")]
    assert dots(axes) == pytest.approx([row.value for row in expected])
    assert spans(axes) == [(max(row.low, 0), min(row.high, 1)) for row in expected]


def test_differences_are_filled_where_clear_and_only_there(frame):
    rows = frame[frame.model == "rn18-timm"]
    found = verdicts.compare(accuracy(frame), verdicts.FAMILIES["methods"])
    axes = figures.differences(rows).axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    drawn = {round(float(line.get_xdata()[0]), 9): line.get_fillstyle() == "full" for line in marks}
    assert drawn == {round(100 * row.value, 9): row.clear for row in found.itertuples()}


def test_no_pair_of_a_family_is_said(frame):
    with pytest.raises(ValueError, match="two methods that controls compares"):
        figures.differences(frame[(frame.model == "rn18-timm") & (frame.method == "LP")], "controls")


@pytest.mark.parametrize("draw", [figures.methods, figures.differences, figures.masking])
def test_letters_are_at_least_nine_pixels_high_on_a_phone(frame, tmp_path, draw):
    figure = draw() if draw is figures.masking else draw(accuracy(frame))
    text = figures.save(figure, tmp_path / "figure.svg").read_text()
    width = float(re.search(r'width="([\d.]+)pt"', text).group(1))
    with figures.theme():
        smallest = min(one.get_fontsize() for one in figure.findobj(Text) if one.get_text())
    assert smallest / width * 358 >= 9


def test_bits_per_weight_draws_a_bar_per_coder_at_the_mean_over_data_sets(stored):
    figure = figures.bits_per_weight(stored)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert sorted(titles) == sorted([f"{model}, FS" for model in profile("tiny").full_models] + ["rn50-swav, SSM"])
    rows = stored[(stored.model == "rn18-timm") & (stored.method == "FS")]
    expected = [rows.groupby("dataset")[f"bits_{name}"].mean().mean() for name in storage.CODERS]
    assert heights(figure.axes[titles.index("rn18-timm, FS")]) == pytest.approx(expected)


def test_the_parts_of_a_file_add_up_to_it(stored):
    figure = figures.task_bytes(stored[stored.model == "rn18-timm"])
    rows = stored[(stored.model == "rn18-timm") & (stored.method == "FS") & (stored.dataset == "dtd")]
    axes = figure.axes[0]
    place = [label.get_text() for label in axes.get_yticklabels()].index("dtd")
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == place]
    assert max(ends) == pytest.approx(rows.kb_file.mean())


def test_sizes_of_no_mask_cannot_be_drawn(stored):
    with pytest.raises(ValueError, match="must hold sizes of masks"):
        figures.task_bytes(stored[stored.method == "LP"])


def test_no_runs_with_that_share_of_labels_is_said(frame):
    with pytest.raises(ValueError, match="frame must hold runs with 3 % of the labels"):
        figures.label_sparsity(accuracy(frame).iloc[:0], 3.0)


def test_the_same_figure_is_the_same_bytes(frame, tmp_path):
    for ending in ("svg", "pdf", "png"):
        paths = [figures.save(figures.methods(accuracy(frame)), tmp_path / f"{k}.{ending}") for k in (0, 1)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_dark_page_gets_light_ink_on_a_clear_ground(frame, tmp_path):
    path = figures.save(figures.methods(accuracy(frame), dark=True), tmp_path / "dark.svg")
    text = path.read_text()
    assert figures.INK["dark"] in text
    assert figures.INK["light"] not in text
    assert not re.search(r'id="patch_1">\s*<path [^>]*style="fill: #ffffff"', text)


def test_a_light_figure_becomes_the_dark_one_by_its_ink(frame, tmp_path):
    rows, several = accuracy(frame), (figures.methods, figures.differences)
    for draw in several:
        paths = [figures.save(draw(rows, dark=dark), tmp_path / f"{dark}.svg") for dark in (False, True)]
        light, dark = (path.read_text() for path in paths)
        names = re.compile(r"\bm[0-9a-f]{10}\b")  # of markers: hashes that depend on their colour
        assert names.sub("", light.replace(figures.INK["light"], figures.INK["dark"])) == names.sub("", dark)
        assert light != dark


def test_a_figure_is_a_dark_one_at_another_address_of_the_same_file(frame, tmp_path, browser):
    path = figures.save(figures.methods(accuracy(frame)), tmp_path / "one.svg")
    path.write_text(svg.for_dark_pages(svg.lean(path.read_text())))
    dark = figures.save(figures.methods(accuracy(frame), dark=True), tmp_path / "two.svg")
    dark.write_text(svg.lean(dark.read_text()))
    seen = {}
    for address in ("one.svg", "one.svg#dark", "two.svg"):
        (tmp_path / "page.html").write_text(f'<body style="background:#808080"><img src="{address}">')
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        seen[address] = page.screenshot()
        page.close()
    assert seen["one.svg#dark"] == seen["two.svg"]
    assert seen["one.svg"] != seen["two.svg"]


def shown(path, browser):
    page = browser.new_page()
    page.goto(path.as_uri())
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), dtype=float)
    page.close()
    return pixels


@pytest.mark.parametrize("draw", [figures.methods, figures.differences])
def test_a_lean_figure_looks_the_same_in_half_of_the_bytes(draw, frame, tmp_path, browser):
    path = figures.save(draw(accuracy(frame)), tmp_path / "whole.svg")
    lean = svg.lean(path.read_text())
    (tmp_path / "lean.svg").write_text(lean)
    assert len(lean) < 0.7 * path.stat().st_size
    apart = np.abs(shown(path, browser) - shown(tmp_path / "lean.svg", browser))
    assert apart.mean() < 0.5  # of 255: edges of letters, by hundredths of a pixel


def test_letters_of_a_printed_figure_stay_letters(frame, tmp_path):
    content = figures.save(figures.methods(accuracy(frame)), tmp_path / "one.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"/FontFile2" in content


def test_drawing_leaves_the_settings_of_matplotlib_alone(frame):
    before = dict(matplotlib.rcParams)
    figures.methods(accuracy(frame), dark=True)
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_theme_lists_those_there_are():
    with pytest.raises(ValueError, match="theme must be one of light, dark; got 'sepia'"), figures.theme("sepia"):
        pass


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("theme", "ground"), [("light", "#ffffff"), ("dark", "#121212")])
def test_ink_stands_out_from_its_page(theme, ground):
    pair = sorted((luminance(figures.INK[theme]), luminance(ground)))
    assert (pair[1] + 0.05) / (pair[0] + 0.05) > 7


def deuteranope(colour):
    """Machado, Oliveira and Fernandes 2009: how the colour looks without green cones, full severity."""
    red, green, blue = to_rgb(colour)
    return (
        0.367322 * red + 0.860646 * green - 0.227968 * blue,
        0.280085 * red + 0.672501 * green + 0.047413 * blue,
        -0.011820 * red + 0.042940 * green + 0.968881 * blue,
    )


def test_the_bars_of_a_figure_differ_also_without_green_cones():
    colours = [deuteranope(figures.COLOURS[method]) for method in figures.BARS]
    pairs = [(a, b) for index, a in enumerate(colours) for b in colours[:index]]
    assert min(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5 for a, b in pairs) > 0.15


def test_the_idea_shows_weights_only_where_the_mask_is_on():
    figure = figures.masking()
    weights, mask, product = (axes.images[0].get_array() for axes in figure.axes)
    shown = ~np.ma.getmaskarray(np.ma.masked_invalid(product))
    on = ~np.ma.getmaskarray(np.ma.masked_invalid(mask))
    assert (shown == on).all()
    assert (product[on] == weights[on]).all()


@pytest.mark.parametrize("family", verdicts.FAMILIES)
def test_the_legend_of_differences_lies_within_the_figure(frame, family):
    figure = figures.differences(frame[frame.model == "rn50-swav"], family, 10.0 if family == "labels" else 100.0)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
