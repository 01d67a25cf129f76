"""The built site in a browser: every page loads, asks no other host for anything, and can be read."""

import functools
import http.server
import json
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import built
import pytest
from bookext import alphabets, offline

WIDTHS = (1440, 1280, 390, 360)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Folder of the built site."""
    project, report = built.site(tmp_path_factory)
    assert report.startswith("0\n"), report
    return project / "_build" / "html"


class Page(HTMLParser):
    """What a page links to, shows, and can be linked to by."""

    def __init__(self, path):
        super().__init__()
        self.links, self.images, self.ids, self.sources = [], [], set(), []
        self.title, self.told = "", {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "meta" and "content" in given:
            self.told[given.get("name") or given.get("property")] = given["content"]
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "img":
            self.images.append(given)
        if tag in ("img", "script", "iframe") and given.get("src"):
            self.sources.append(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon"):
            self.sources.append(given["href"])

    def handle_data(self, data):
        if self.lasttag == "title":
            self.title = self.title or data.strip()


@pytest.fixture(scope="module")
def pages(html):
    found = {path: Page(path) for path in sorted(html.rglob("*.html")) if "_static" not in path.parts}
    assert len(found) > 15
    return found


def test_links_within_the_site_hold(html, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links + page.sources:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            if not target.is_file() or (parts.fragment and target in pages and parts.fragment not in pages[target].ids):
                broken.append(f"{path.relative_to(html)} -> {link}")
    assert broken == []


def test_nothing_is_loaded_from_another_host(html, pages):
    foreign = [(path.name, source) for path, page in pages.items() for source in page.sources if "//" in source]
    assert foreign == []


def test_every_image_is_described(html, pages):
    bare = [
        (path.name, image) for path, page in pages.items() for image in page.images if not image.get("alt", "").strip()
    ]
    assert bare == []
    assert sum(len(page.images) for page in pages.values()) >= 10


def test_no_number_is_missing_where_there_are_records(html):
    for name in ("results_submasking", "results_label_sparsity", "conclusion"):
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        assert "no records of profile" not in text
        assert 'class="measured record"' in text


def test_a_table_and_a_figure_lead_to_their_notebook(html, pages):
    assert "notebooks/submasking-rn50-torch.html" in pages[html / "results_submasking.html"].links
    assert "notebooks/label_sparsity-rn50-swav.html" in pages[html / "results_label_sparsity.html"].links


def test_a_page_can_be_told_from_others_by_its_title(html, pages):
    titles = [page.title for path, page in pages.items() if path.parent != html / "runs"]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def test_a_page_of_the_book_describes_itself(html, pages):
    told = {name: pages[html / f"{name}.html"].told for name in ("index", "method", "checklist")}
    assert len({tags["description"] for tags in told.values()}) == 3
    assert all(tags["og:description"] == tags["description"] for tags in told.values())
    assert told["index"]["og:title"] == told["index"]["citation_title"]
    assert told["index"]["description"].startswith("The question.")
    assert told["index"]["citation_author"] == "The submasking authors"


def test_a_notebook_is_there_to_take_away_with_its_outputs(html, pages):
    for page in built.KEPT:
        name = f"{Path(page).name}.ipynb"
        assert name in pages[html / f"{page}.html"].links
        cells = json.loads((html / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
        assert any(cell.get("outputs") for cell in cells)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture(scope="module")
def address(html):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(html.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{html.name}"  # below a path, as sites of projects are
    server.shutdown()
    server.server_close()


class Visit:
    """A page opened in the browser, with all that went wrong meanwhile."""

    def __init__(self, browser, url, width=1280, scheme="light", touch=False):
        size = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=touch)
        self.page, self.troubles = self.context.new_page(), []
        home = "://".join(urlsplit(url)[:2])
        note = self.troubles.append
        self.page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: note(str(error)))
        # a picture below that was still on its way when the page was left is nobody's trouble
        self.page.on(
            "requestfailed",
            lambda request: note(f"failed: {request.url}") if request.failure != "net::ERR_ABORTED" else None,
        )
        self.page.on(
            "response", lambda response: note(f"{response.status}: {response.url}") if response.status >= 400 else None
        )
        self.page.on(
            "request", lambda request: note(f"foreign: {request.url}") if self._foreign(request.url, home) else None
        )
        self.page.goto(url, wait_until="networkidle")

    @staticmethod
    def _foreign(url, home):
        return not url.startswith((home, "data:", "blob:"))

    def __enter__(self):
        return self

    def __exit__(self, *arguments):
        self.context.close()


def names():
    contents = (built.ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = [
        line.split(":", 1)[1].strip()
        for line in contents.splitlines()
        if line.strip(" -").startswith(("file:", "root:"))
    ]
    made = ["runs/tiny/index", "runs/tiny/rn50-swav-dtd", "runs/benchmarks", "runs/photographs"]
    return [*(name for name in listed if not name.startswith("notebooks/") or name in built.KEPT), *made]


@pytest.mark.parametrize("name", names())
def test_a_page_loads_without_trouble_and_fits_the_window(name, address, browser):
    with Visit(browser, f"{address}/{name}.html", WIDTHS[0]) as visit:
        assert troubles(visit, WIDTHS) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["server", "folder"])
def test_any_page_loads_on_a_dark_phone_and_from_a_folder(place, html, pages, address, browser):
    base, found = address if place == "server" else html.as_uri(), {}
    for path in each(pages):
        with Visit(browser, f"{base}/{path.relative_to(html)}", WIDTHS[-1], "dark") as visit:
            found[path.name] = troubles(visit, WIDTHS[::-1])
    assert {name: several for name, several in found.items() if several} == {}


def each(pages):
    """Every page of the site, and three of those of runs, which are alike."""
    runs = [path for path in pages if "runs" in path.parts]
    return [path for path in pages if path not in runs[3:]]


def troubles(visit, widths):
    """What a page said and asked for that it should not, and what is wider than the window at each of its widths."""
    for width in widths:
        visit.page.set_viewport_size({"width": width, "height": 900})
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if (more := visit.page.evaluate(overflow)) > 0:
            visit.troubles.append(f"{more} px wider than {width} px")
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    return visit.troubles + visit.page.evaluate(broken)


WIDER = """() => [...document.querySelectorAll("table.record-table")]
  .filter((table) => table.parentElement.scrollWidth > table.parentElement.clientWidth).map((table) => table.id)"""


@pytest.mark.parametrize("name", ["results_submasking", "results_label_sparsity", "appendix_tables", "task_sizes"])
def test_every_table_of_the_paper_fits_beside_both_sidebars(name, address, browser):
    with Visit(browser, f"{address}/{name}.html", 1440) as visit:
        assert visit.page.locator("table.record-table").count() > 0
        assert visit.page.evaluate(WIDER) == []


def violations(page):
    """What axe finds wrong with an open page: the rule, and the first element that breaks it."""
    # a colour that is still on its way to another one is neither
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; animation: none !important; }")
    from axe_playwright_python.sync_playwright import Axe

    return [(found["id"], found["nodes"][0]["html"][:200]) for found in Axe().run(page).response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "live", "proofs", "runs/tiny/rn50-swav-dtd"])
def test_axe_finds_nothing_on_a_page(name, scheme, address, browser):
    with Visit(browser, f"{address}/{name}.html", scheme=scheme) as visit:
        assert violations(visit.page) == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(scheme, html, pages, address, browser):
    found = {}
    for path in each(pages):
        with Visit(browser, f"{address}/{path.relative_to(html)}", scheme=scheme) as visit:
            found[path.name] = violations(visit.page)
    assert {name: several for name, several in found.items() if several} == {}


NOTEBOOK = 150_000  # bytes of an executed notebook as page, file and plots, on average over the eighteen


def test_the_site_is_at_most_15_megabytes(html):
    """Without the live page's network and images, which no other page loads, and without the PDF."""
    left_out = (html / "_static" / "live", html / "submasking.pdf")
    files = [file for file in html.rglob("*") if file.is_file() and not set(left_out) & {file, *file.parents}]
    contents = (built.ROOT / "_toc.yml").read_text(encoding="utf-8")
    others = contents.count("file: notebooks/") - len(built.KEPT)
    assert others > 10
    assert sum(file.stat().st_size for file in files) + others * NOTEBOOK <= 15 * 10**6


SIZES = """() => [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]
  .map((each) => [each.name, each.decodedBodySize])"""


@pytest.mark.parametrize("name", ["index", "results_submasking", "results_photographs", "runs/tiny/index"])
def test_a_page_is_less_than_a_megabyte_before_its_mathematics(name, address, browser):
    with Visit(browser, f"{address}/{name}.html") as visit:
        sizes = dict(visit.page.evaluate(SIZES))
        assert len(sizes) > 10
        assert sum(size for url, size in sizes.items() if "mathjax" not in url) < 10**6


@pytest.mark.parametrize("way", ["served", "from a folder"])
def test_mathematics_is_drawn_and_can_be_heard(way, html, address, browser):
    with Visit(browser, f"{address if way == 'served' else html.as_uri()}/method.html") as visit:
        visit.page.wait_for_selector("mjx-container svg")
        formulas = visit.page.locator("mjx-container svg").count()
        assert formulas > 20
        assert visit.page.locator("mjx-container math").count() == formulas
        assert visit.page.locator("mjx-merror, [data-mjx-error]").count() == 0
        # a stop for the keyboard is a formula that scrolls, and no other
        wide = "(one) => one.getAttribute('display') === 'true' && one.scrollWidth > one.clientWidth"
        stops = "(every) => every.map((one) => [one.tabIndex === 0, (WIDE)(one)])".replace("WIDE", wide)
        assert all(stop == scrolls for stop, scrolls in visit.page.locator("mjx-container").evaluate_all(stops))
        assert visit.troubles == []


def formulas(visit):
    """Every formula of an open page, as it is drawn."""
    visit.page.wait_for_selector("mjx-container svg")
    assert visit.page.locator("mjx-merror, [data-mjx-error]").count() == 0
    return visit.page.locator("mjx-container svg").evaluate_all("(every) => every.map((one) => one.innerHTML)")


def test_every_formula_is_drawn_as_with_the_whole_font(html, address, browser):
    names = [path.stem for path in html.glob("*.html") if 'class="math' in path.read_text(encoding="utf-8")]
    assert len(names) > 5
    whole = (offline.source().parent / alphabets.FONT).read_text(encoding="utf-8")
    for name in names:
        with Visit(browser, f"{address}/{name}.html") as visit:
            small = formulas(visit)
            visit.page.route("**/fonts/tex.js", lambda route: route.fulfill(body=whole))
            visit.page.reload(wait_until="networkidle")
            assert formulas(visit) == small, name


@pytest.mark.parametrize("width", [360, 800])
@pytest.mark.parametrize(("side", "leads"), [("primary", "experiments.html"), ("secondary", "method.html#momentum")])
def test_a_small_screen_opens_the_menu_and_the_contents(width, side, leads, address, browser):
    with Visit(browser, f"{address}/method.html", width=width, touch=True) as visit:
        visit.page.locator(f"button.{side}-toggle:visible").tap()
        menu = visit.page.locator(f"#pst-{side}-sidebar-modal[open]")
        menu.wait_for()
        menu.locator(f"a[href$='{leads.removeprefix('method.html')}']").first.click()
        visit.page.wait_for_url(f"**/{leads}")
        assert visit.troubles == []


def test_a_large_screen_puts_the_menu_away_and_brings_it_back(address, browser):
    with Visit(browser, f"{address}/method.html") as visit:
        right = "document.querySelector('#pst-primary-sidebar').getBoundingClientRect().right"
        for there in (False, True):
            visit.page.locator("button.primary-toggle:visible").click()
            visit.page.wait_for_function(f"(there) => ({right} > 0) == there", arg=there)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_shows_the_twin_of_its_page_with_its_caption(address, browser, scheme):
    other = {"light": "dark", "dark": "light"}[scheme]
    with Visit(browser, f"{address}/results_label_sparsity.html", scheme=scheme) as visit:
        assert visit.page.locator(f"#figure-1 img.only-{scheme}").is_visible()
        assert not visit.page.locator(f"#figure-1 img.only-{other}").is_visible()
        assert visit.page.locator("#figure-1 figcaption").is_visible()


@pytest.mark.parametrize("by", ["mouse", "touch", "keyboard"])
@pytest.mark.parametrize(("where", "told"), [("#table-1 a.ours", "seed"), ("p a.measured.record", "profile tiny")])
def test_a_number_tells_where_it_is_from_and_leads_there(address, browser, by, where, told):
    with Visit(browser, f"{address}/results_submasking.html", touch=by == "touch") as visit:
        number = visit.page.locator(where).first
        assert told in number.get_attribute("title")
        if by == "keyboard":
            number.focus()
            visit.page.keyboard.press("Enter")
        else:
            number.tap() if by == "touch" else number.click()
        visit.page.wait_for_url("**/runs/tiny/**")
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.locator("section.run h1").is_visible()
        assert visit.troubles == []


def test_the_keyboard_is_told_what_a_pointer_is_told(address, browser):
    with Visit(browser, f"{address}/results_submasking.html") as visit:
        number = visit.page.locator("p a.measured.record").first
        told = "(one) => getComputedStyle(one, '::after').content"
        assert number.evaluate(told) == "none"
        visit.page.keyboard.press("Tab")  # from here on what has the focus shows it
        number.focus()
        assert number.get_attribute("title") in number.evaluate(told)


def test_a_table_of_numbers_is_one_tab_stop_and_arrows_move_in_it(address, browser):
    with Visit(browser, f"{address}/results_submasking.html") as visit:
        assert visit.page.locator("#table-1 a.measured[tabindex='0']").count() == 1
        visit.page.locator("#table-1 a.measured").first.focus()
        for key in ("ArrowRight", "ArrowDown"):
            visit.page.keyboard.press(key)
        assert visit.page.evaluate("document.activeElement.closest('td').cellIndex") == 2
        assert visit.page.locator("#table-1 a.measured[tabindex='0']").count() == 1


SIGN = """(one) => {
  const style = getComputedStyle(one, "::first-line");
  const behind = getComputedStyle(document.body).backgroundColor;
  return [style.textDecorationLine, style.textDecorationStyle, style.textDecorationColor, behind];
}"""


def contrast(*colours):
    """Of two colours as a browser computes them, by WCAG."""
    lights = []
    for colour in colours:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.05 + sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    return max(lights) / min(lights)


@pytest.mark.parametrize(("scheme", "touch"), [("light", False), ("dark", True)])
def test_a_number_of_a_table_that_leads_somewhere_has_a_sign_of_it_and_no_other(scheme, touch, address, browser):
    with Visit(browser, f"{address}/results_submasking.html", scheme=scheme, touch=touch) as visit:
        ours, theirs = (visit.page.locator(f"table.record-table {kind}").first for kind in ("a.ours", "abbr.reported"))
        line, style, *colours = ours.evaluate(SIGN)
        assert (line, style) == ("underline", "dotted")
        assert contrast(*colours) > 3
        assert theirs.evaluate(SIGN)[0] == "none"
        visit.page.emulate_media(media="print")
        assert ours.evaluate(SIGN)[0] == "none"


def test_a_number_is_copied_without_the_count_of_its_runs(address, browser):
    with Visit(browser, f"{address}/results_submasking.html") as visit:
        cell = visit.page.locator("#table-1 td:has(a.ours sub)").first
        shown = cell.text_content()
        assert re.fullmatch(r"\.\d{3}\N{THIN SPACE}\d+ ± \.\d{3}", shown), shown
        cell.evaluate("(one) => getSelection().selectAllChildren(one)")
        copied = visit.page.evaluate("getSelection().toString()")
        assert copied.split() == [shown[:4], "±", shown[-4:]]


CODE = """() => [...document.querySelectorAll("article pre")].map((pre) => {
  const right = pre.getBoundingClientRect().right;
  let box = pre.parentElement;
  while (box.tagName !== "ARTICLE" && box.getBoundingClientRect().right >= right - 1) box = box.parentElement;
  const scrolls = pre.scrollWidth > pre.clientWidth;
  return [scrolls, getComputedStyle(pre).overflowX, pre.tabIndex === 0, box.tagName === "ARTICLE"];
})"""


@pytest.mark.parametrize("name", ["index", "mask_your_model", "run_the_paper", "runs/tiny/rn50-swav-dtd"])
def test_code_that_is_wider_than_its_block_scrolls_there_and_by_the_keyboard(name, address, browser):
    with Visit(browser, f"{address}/{name}.html", 1440) as visit:
        for width in (1440, 390, 360):
            visit.page.set_viewport_size({"width": width, "height": 900})
            visit.page.evaluate("new Promise(requestAnimationFrame)")
            found = visit.page.evaluate(CODE)
            assert found
            for scrolls, overflow, stop, whole in found:
                assert whole
                assert stop == scrolls
                assert overflow == "auto" or not scrolls
            if name == "index":
                assert any(scrolls for scrolls, *_ in found) == (width < 1440)
        if name == "index":
            wide = visit.page.locator("article pre[tabindex]").first
            wide.focus()
            visit.page.keyboard.press("ArrowRight")
            visit.page.wait_for_function("(one) => one.scrollLeft > 0", arg=wide.element_handle())


def test_all_runs_are_filtered_by_the_address_and_sorted_by_a_head(address, browser):
    with Visit(browser, f"{address}/runs/tiny/index.html?model=rn18-timm&method=FS") as visit:
        visit.page.wait_for_selector("form.filters:visible")
        shown = visit.page.locator("#all-runs tbody tr:visible")
        count = shown.count()
        assert f"{count} of" in visit.page.locator("form.filters output").text_content()
        assert set(shown.locator("td:nth-child(3)").all_text_contents()) == {"FS"}
        for descending in (False, True):
            visit.page.locator("#all-runs th button", has_text="top1").click()
            found = [float(text) for text in shown.locator("td:nth-child(6)").all_text_contents()]
            assert found == sorted(found, reverse=descending)
        assert len(found) == count >= 8


def test_a_word_is_found(address, browser):
    with Visit(browser, f"{address}/search.html?q=prototypes") as visit:
        visit.page.wait_for_selector("#search-results li a")
        visit.page.wait_for_selector("#search-results li .context")  # what stands around it
        assert "prototypes" in visit.page.locator("#search-results .context").first.text_content().lower()
        assert visit.troubles == []


def test_the_downloads_of_a_table_and_a_figure_are_there(html):
    made = Path(html / "_static" / "made")
    assert (made / "table-1.csv").stat().st_size > 1000
    assert (made / "figure-1.pdf").read_bytes().startswith(b"%PDF")


def test_letters_of_a_figure_can_be_read_on_a_phone(html):
    small = {}
    for path in (html / "_images").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        if width := re.search(r'<svg[^>]*width="([\d.]+)pt"', text):
            # as matplotlib writes glyphs: at a hundredth of their size
            sizes = [100 * float(size) * 358 / float(width[1]) for size in re.findall(r"scale\(([\d.]+) -", text)]
            small |= {path.name: min(sizes)} if min(sizes, default=9) < 9 else {}
    assert small == {}


def test_every_figure_of_measured_things_offers_its_numbers(html):
    drawn, without = 0, set()
    for path in html.glob("*.html"):
        for behind in re.findall(r'<p class="behind">(.*?)</p>', path.read_text(encoding="utf-8"), re.DOTALL):
            if figure := re.search(r'_images/([^"]*)\.svg"', behind):
                files = re.findall(r'href="(_static/made/[^"]*\.csv)"', behind)
                without |= set() if files else {figure[1]}
                drawn += bool(files)
                assert all(len((html / file).read_text(encoding="utf-8").splitlines()) > 1 for file in files), files
    assert drawn > 20
    assert without == {"masking", "rooms"}  # drawings of no records


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("results_submasking", r"n = \d+ seeds\.$"),
        ("results_correlations", r"The analysis read [\d,]+ runs, of \d+ seeds\.$"),
        ("results_photographs", r"n = \d+( to \d+)? seeds\.$|seed\.$"),
    ],
)
def test_the_caption_of_every_measured_figure_says_what_it_was_made_from(html, page, told):
    text = (html / f"{page}.html").read_text(encoding="utf-8")
    found = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    captions = [re.sub(r"<[^>]*>", "", one).strip().removesuffix("#").strip() for one in found]
    assert len(captions) > 1
    assert [one for one in captions if not re.search(told, one)] == []


READY = """(mask) => {
  const page = document.getElementById("live-page");
  const told = page.querySelector(".live-status").textContent;
  return page.dataset.state === "ready" && told.endsWith(`the mask of ${mask}.`);
}"""


def answer(page, mask):
    """What the live page says once it has predicted with a mask."""
    page.wait_for_function(READY, arg=mask, timeout=120_000)
    return page.locator("[data-part=answer]").inner_text()


@pytest.mark.parametrize(("place", "width", "scheme"), [("server", 390, "dark"), ("folder", 1280, "light")])
def test_the_live_page_is_used_by_keyboard_alone(html, address, browser, place, width, scheme):
    base = address if place == "server" else html.as_uri()
    with Visit(browser, f"{base}/live.html", width, scheme) as visit:
        page, press = visit.page, visit.page.keyboard.press
        assert answer(page, "digits").startswith("DIGIT")
        page.focus("[name=image]:checked")
        press("ArrowRight")
        assert page.locator("[name=image]:checked").get_attribute("value") == "cifar10 1"
        page.focus("[name=task]:checked")
        press("ArrowRight")
        press("ArrowLeft")  # back before the other mask is decoded
        assert answer(page, "digits").startswith("DIGIT")
        press("ArrowRight")
        assert "one of digits: this task has no class for it" in answer(page, "cyrillic")
        assert "kB" in page.locator("[data-part=file]").inner_text()
        page.focus("[name=layer]:checked")
        press("ArrowDown")
        assert (
            page.locator("[data-part=legend]").inner_text().startswith("layer1.0.conv3: a row for each of 64 filters")
        )
        page.focus("[data-part=drawing]")
        for key in ("Space", *["ArrowDown"] * 8, "Space"):
            press(key)
        assert page.locator("[name=image]:checked").get_attribute("value") == "drawn"
        assert answer(page, "cyrillic").startswith("CYRILLIC")
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) <= 0
        assert visit.troubles == []
