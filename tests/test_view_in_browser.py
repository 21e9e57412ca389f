"""The page of `plots.view` with real clicks and keys, in headless Chromium."""

import base64
import io
import shutil

import numpy as np
import pytest
from pages import random_weights

from keras_attention import plots

LAYERS, HEADS, TARGET, SOURCE = 2, 3, 5, 7
SOURCES = ["I", "am", "a", "dog", "שלום", "</script>", "."]
TARGETS = ["我", "是", "一条", "狗", "。"]
# As the page holds them: rounding changes no order.
WEIGHTS = random_weights(LAYERS, HEADS, TARGET, SOURCE)
WEIGHTS = WEIGHTS.astype("float16").astype("float64")
MASK = np.tri(TARGET, SOURCE, k=2, dtype=bool)
STEPS = [
    [("我", -0.25), ("你", -1.5)],
    [(["我", "是"], -0.5), (["我", "有"], -2.125)],
    [(["我", "是", "一条"], -0.75)],
]
# A browser that is started for a test asks nobody for anything.
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync
--force-device-scale-factor=1""".split()
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("neither Chromium nor Chrome is installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens a view; at the end, nothing was asked for and nothing failed."""
    contexts, wrong = [], []

    def open_view(view, width=1100, height=760, **options):
        context = browser.new_context(
            viewport={"width": width, "height": height}, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        path = view.save(tmp_path / "page.html")
        known = path.as_uri()
        page.on(
            "request",
            lambda request: (
                request.url.startswith((known, "blob:"))
                or wrong.append(request.url)
            ),
        )
        page.goto(known)
        wait_for_frame(page)
        return page

    yield open_view
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(open_page):
    return open_page(small_view(), color_scheme="light")


def small_view():
    return plots.view(
        WEIGHTS,
        SOURCES,
        TARGETS,
        title="I am a dog.",
        mask=MASK,
        names=["low", "high"],
        steps=STEPS,
    )


def wait_for_frame(page):
    page.evaluate(
        "() => new Promise(done => "
        "requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    wait_for_frame(page)


def places_of(page):
    """Returns a function from cells to their middles in the picture."""
    data = page.evaluate("({...document.getElementById('heat-map').dataset})")
    left, top, width, height = (
        float(data[name]) for name in ("left", "top", "cellWidth", "cellHeight")
    )
    return lambda row, column: (
        left + (column + 0.5) * width,
        top + (row + 0.5) * height,
    )


def place_of(page, row, column):
    """Returns where the middle of a cell is in the picture, (x, y)."""
    return places_of(page)(row, column)


def point_at(page, x, y, click=False):
    box = page.locator("#heat-map").bounding_box()
    act = page.mouse.click if click else page.mouse.move
    act(box["x"] + x, box["y"] + y)
    wait_for_frame(page)


def pixels_of(page):
    """Returns the picture, 0 to 255, (height, width, 3)."""
    import matplotlib.image

    address = page.evaluate("document.getElementById('heat-map').toDataURL()")
    png = io.BytesIO(base64.b64decode(address.partition(",")[2]))
    return np.rint(matplotlib.image.imread(png)[..., :3] * 255).astype(int)


def darkness_of_cells(page, rows=TARGET, columns=SOURCE):
    """Returns how much darker than white the middle of each cell is."""
    pixels, places = pixels_of(page), places_of(page)
    found = np.zeros((rows, columns))
    for row, column in np.ndindex(rows, columns):
        x, y = places(row, column)
        found[row, column] = 765 - pixels[int(y), int(x)].sum()
    return found


def status(page):
    return page.locator("#status").inner_text()


def partners(page, which):
    items = page.locator(f"#{which}-partners li")
    return [
        (item.locator(".token").inner_text(), item.locator(".weight"))
        for item in items.all()
    ]


def check_partners(page, which, weights, labels):
    order = np.argsort(-weights)[:8]
    found = partners(page, which)
    assert [label for label, _ in found] == [labels[n] for n in order]
    shown = [float(weight.inner_text()) for _, weight in found]
    np.testing.assert_allclose(shown, weights[order], rtol=6e-3)


def test_pointing_at_a_cell_traces_both_tokens(page):
    mean = WEIGHTS[0].mean(axis=0)
    point_at(page, *place_of(page, 3, 4))
    found = status(page)
    assert found.startswith("target 3 “狗” → source 4 “שלום”: ")
    assert float(found.split(": ")[1].split(",")[0]) == pytest.approx(
        mean[3, 4], rel=6e-3
    )
    check_partners(page, "row", mean[3], SOURCES)
    check_partners(page, "column", mean[:, 4], TARGETS)
    assert page.locator("#row-heading").inner_text() == "Target “狗” looks at"


def test_pointing_at_a_label_traces_one_token(page):
    x, y = place_of(page, 2, 5)
    point_at(page, 4, y)
    assert status(page) == "target 2 “一条”"
    assert page.locator("#column-heading").is_hidden()
    point_at(page, x, 4)
    assert status(page) == "source 5 “</script>”"
    assert page.locator("#row-heading").is_hidden()
    check_partners(page, "column", WEIGHTS[0].mean(axis=0)[:, 5], TARGETS)


def test_a_click_keeps_the_cell(page):
    point_at(page, *place_of(page, 1, 2), click=True)
    point_at(page, *place_of(page, 4, 4))
    assert status(page).startswith("target 4")
    page.mouse.move(900, 700)
    wait_for_frame(page)
    assert status(page).startswith("target 1 “是” → source 2 “a”")


def test_arrow_keys_move_the_cell_and_stop_at_the_ends(page):
    press(page, "ArrowDown", "ArrowDown", "ArrowRight")
    assert status(page).startswith("target 2 “一条” → source 1")
    press(page, "End", "ArrowRight", "PageUp", "ArrowUp")
    assert status(page).startswith("target 0 “我” → source 6")
    press(page, "Home", "PageDown")
    assert status(page).startswith("target 4 “。” → source 0")


def test_layers_and_heads_are_chosen_by_keys_and_menus(page):
    def shown():
        check_partners(page, "row", expected()[0], SOURCES)
        return page.locator("#layer").input_value(), head.input_value()

    def expected():
        layer = WEIGHTS[int(page.locator("#layer").input_value())]
        value = head.input_value()
        return layer.mean(axis=0) if value == "mean" else layer[int(value)]

    head = page.locator("#head")
    assert shown() == ("0", "mean")
    press(page, "Shift+ArrowRight", "Shift+ArrowRight")
    assert shown() == ("0", "1")
    press(page, "Shift+ArrowDown", "Shift+ArrowDown")
    assert shown() == ("1", "1")
    press(page, *["Shift+ArrowLeft"] * 5)
    assert shown() == ("1", "mean")
    page.select_option("#layer", label="low")
    head.select_option(label="head 2")
    wait_for_frame(page)
    assert shown() == ("0", "2")
    # Keys in a menu are those of the menu.
    before = status(page)
    page.locator("#head").press("ArrowDown")
    assert status(page) == before


def test_a_layer_of_one_head_keeps_the_choice_for_the_others(open_page):
    weights = {"one": WEIGHTS[0, 0], "three": WEIGHTS[1], "two": WEIGHTS[1, 1:]}
    page = open_page(plots.view(weights))
    head = page.locator("#head")
    assert head.is_hidden()
    press(page, "Shift+ArrowDown")
    assert head.input_value() == "mean"
    press(page, *["Shift+ArrowRight"] * 3, "Shift+ArrowUp", "Shift+ArrowDown")
    assert head.input_value() == "2"
    press(page, "Shift+ArrowDown")  # has no head 2
    assert head.input_value() == "mean"
    labels = [str(number) for number in range(SOURCE)]
    check_partners(page, "row", WEIGHTS[1, 1:].mean(axis=0)[0], labels)


def test_stronger_weights_are_darker(page):
    press(page, "m")
    point_at(page, 4, place_of(page, 0, 0)[1])  # marks in one row alone
    found = darkness_of_cells(page)
    weights = WEIGHTS[0].mean(axis=0)
    order = np.argsort(weights, axis=None)
    assert (np.diff(found.ravel()[order]) >= 0).all()
    assert found.ravel()[order[-1]] > 600


def test_the_threshold_hides_small_weights(page):
    press(page, "m")
    weights = WEIGHTS[0].mean(axis=0)
    page.locator("#threshold").fill("60")
    wait_for_frame(page)
    least = weights.max() * 0.6**2
    shown = float(page.locator("#threshold-value").inner_text())
    assert shown == pytest.approx(least, rel=6e-3)
    np.testing.assert_array_equal(darkness_of_cells(page) > 0, weights > least)
    count = (weights[0] > least).sum()
    assert len(partners(page, "row")) == count < SOURCE


def test_a_logarithmic_scale_shows_small_weights(open_page):
    weights = 10.0 ** -np.arange(7.0)[None]
    page = open_page(plots.view(weights))
    linear = darkness_of_cells(page, 1, 7)[0]
    press(page, "l")
    logarithmic = darkness_of_cells(page, 1, 7)[0]
    assert (linear[3:] == 0).all()
    assert (np.diff(logarithmic[:5]) < 0).all() and logarithmic[3] > 50
    assert (logarithmic[5:] == 0).all()  # beyond four decades
    assert page.locator("#legend-low").inner_text() == "1.0e-4"
    page.select_option("#scale", "linear")
    wait_for_frame(page)
    np.testing.assert_array_equal(darkness_of_cells(page, 1, 7)[0], linear)


def test_what_the_mask_hides_is_hatched_and_said(page):
    point_at(page, *place_of(page, 0, 3))
    assert status(page).endswith(", hidden by the mask")
    point_at(page, *place_of(page, 0, 2))
    assert not status(page).endswith("mask")
    point_at(page, 4, place_of(page, 4, 0)[1])
    with_mask = pixels_of(page)
    page.locator("#mask").uncheck()
    point_at(page, 4, place_of(page, 4, 0)[1])
    changed = (pixels_of(page) != with_mask).any(axis=-1)
    places = places_of(page)
    for row, column in np.ndindex(TARGET, SOURCE):
        x, y = map(int, places(row, column))
        cell = changed[y - 6 : y + 7, x - 6 : x + 7]
        assert cell.any() == (not MASK[row, column]), (row, column)


def test_negative_weights_have_another_colour(open_page):
    page = open_page(plots.view([[-0.5, 0.5]]), color_scheme="light")
    pixels = pixels_of(page)
    (x, y), (other, _) = (place_of(page, 0, column) for column in (0, 1))
    red, _, blue = pixels[int(y), int(x)]
    assert red > blue
    red, _, blue = pixels[int(y), int(other)]
    assert blue > red
    assert [float(w.inner_text()) for _, w in partners(page, "row")] in (
        [-0.5, 0.5],
        [0.5, -0.5],
    )


def test_steps_of_a_search_are_walked(page):
    def shown():
        items = page.locator("#hypotheses li").all()
        return [item.inner_text().split("\n") for item in items]

    assert page.locator("#step-value").inner_text() == "step 1 of 3"
    assert shown() == [["我", "-0.250"], ["你", "-1.500"]]
    page.locator("#step-on").click()
    assert shown() == [["我 是", "-0.500"], ["我 有", "-2.125"]]
    wait_for_frame(page)
    assert status(page).startswith("target 1")  # the token of the step
    press(page, ".", ".", ".")
    assert shown() == [["我 是 一条", "-0.750"]]
    press(page, ",", ",")
    assert page.locator("#step-value").inner_text() == "step 1 of 3"


def test_a_view_without_steps_or_choices_shows_none(open_page):
    page = open_page(plots.view([[1.0]]))
    hidden = ("steps", "layer-control", "head-control", "mask-control")
    assert all(page.locator(f"#{name}").is_hidden() for name in hidden)
    press(page, ".", ",", "Shift+ArrowDown", "Shift+ArrowRight")
    assert status(page) == "target 0 → source 0: 1.00"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(open_page, scheme):
    page = open_page(small_view(), color_scheme=scheme)

    def paper():
        corner = pixels_of(page)[0, 0].sum()
        return "light" if corner > 382 else "dark"

    other = {"light": "dark", "dark": "light"}[scheme]
    assert paper() == scheme
    page.locator("#theme").click()
    wait_for_frame(page)
    assert paper() == other
    pressed = page.locator("#theme").get_attribute("aria-pressed")
    assert pressed == str(other == "dark").lower()
    press(page, "d")
    assert paper() == scheme
    page.emulate_media(color_scheme=other)
    wait_for_frame(page)
    assert paper() == other


def luminance(colour):
    """Relative luminance of "#rrggbb" (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    ]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(open_page, scheme):
    page = open_page(small_view(), color_scheme=scheme)
    colours = page.evaluate(
        "Object.fromEntries(['ink', 'muted', 'accent', 'mark', 'paper', "
        "'panel'].map(name => [name, getComputedStyle("
        "document.documentElement).getPropertyValue('--' + name).trim()]))"
    )
    for text in ("ink", "muted", "accent", "mark"):
        for ground in ("paper", "panel"):
            pair = luminance(colours[text]), luminance(colours[ground])
            contrast = (max(pair) + 0.05) / (min(pair) + 0.05)
            assert contrast >= 4.5, (text, ground, contrast)


def test_every_control_has_a_name_and_can_be_reached(page):
    controls = page.locator("select, input, button, canvas#heat-map")
    unnamed = [
        control.get_attribute("id")
        for control in controls.all()
        if control.is_visible()
        and not control.evaluate(
            "x => x.getAttribute('aria-label') || x.textContent.trim() "
            "|| (x.labels && x.labels.length)"
        )
    ]
    assert unnamed == []
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert {"layer", "head", "scale", "threshold", "mask", "theme"} | {
        *("download", "help-button", "heat-map", "step", "step-on")
    } <= set(reached)


def test_help_lists_the_keys_and_closes(page):
    press(page, "?")
    assert page.locator("#help").is_visible()
    text = page.locator("#help").inner_text()
    assert "move the selected cell" in text
    before = status(page)
    press(page, "ArrowDown")
    assert status(page) == before  # the page below does not move
    press(page, "Escape")
    assert page.locator("#help").is_hidden()
    page.locator("#help-button").click()
    assert page.locator("#help").is_visible()


def test_the_picture_is_downloaded_as_png(page, tmp_path):
    import matplotlib.image

    point_at(page, 900, 700)
    size = pixels_of(page).shape
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "attention.png"
    path = tmp_path / "attention.png"
    download.value.save_as(path)
    picture = matplotlib.image.imread(path)
    header = 48  # the title; the layer and the head
    assert picture.shape[:2] == (2 * (size[0] + header), 2 * size[1])
    assert picture[: 2 * header].std() > 0.05  # there is text in it
    assert picture[..., :3].std() > 0.05


def test_a_lone_weight_is_seen_where_cells_are_below_a_pixel(open_page):
    weights = np.zeros((1499, 1511))
    weights[701, 433] = 1.0
    page = open_page(plots.view(weights), color_scheme="light")
    x, y = place_of(page, 701, 433)
    point_at(page, 4, 4)
    pixels = pixels_of(page)
    near = pixels[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2]
    assert near.sum(axis=-1).min() < 200
    point_at(page, x, y)
    assert status(page).startswith("target 70")


def test_500_tokens_a_side_are_traced_within_a_frame(open_page):
    weights = random_weights(500, 500).astype("float16").astype("float64")
    page = open_page(plots.view(weights, mask=np.tri(500)))
    made = page.evaluate(
        "(() => { let made = 0; const before = imageOf;"
        "imageOf = (...given) => { made++; return before(...given); };"
        "for (let i = 0; i < 50; i++) {"
        "  state.hovered = {row: i, column: 2 * i}; drawFrame(); }"
        "return made; })()"
    )
    assert made == 0  # only marks are drawn, whatever the number of cells
    point_at(page, *place_of(page, 401, 211))
    assert status(page).startswith("target 401 → source 211: ")
    labels = [str(number) for number in range(500)]
    check_partners(page, "row", weights[401], labels)


def test_movements_between_two_frames_draw_once(open_page):
    page = open_page(small_view())
    drawn = page.evaluate(
        "(async () => { let drawn = 0; const before = showTrace;"
        "showTrace = () => { drawn++; before(); };"
        "for (let i = 0; i < 9; i++) moveCell(1, 0);"
        "await new Promise(done => requestAnimationFrame(() => "
        "requestAnimationFrame(done))); return drawn; })()"
    )
    assert drawn == 1


@pytest.mark.parametrize("width", [360, 700])
def test_nothing_is_cut_in_narrow_windows(open_page, width):
    weights = random_weights(HEADS, 41, 61)
    tokens = [f"token {number}" for number in range(61)]
    page = open_page(plots.view(weights, tokens, title="word" * 60), width)
    sizes = page.evaluate(
        "[document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert sizes[0] <= sizes[1]


def test_a_new_size_of_the_window_is_a_new_size_of_the_picture(open_page):
    page = open_page(plots.view(random_weights(97, 89)))
    before = pixels_of(page).shape
    page.set_viewport_size({"width": 700, "height": 760})
    wait_for_frame(page)
    assert pixels_of(page).shape[1] < before[1]


def test_less_motion_is_asked_for_and_given(open_page):
    page = open_page(small_view(), reduced_motion="reduce")
    style = "x => getComputedStyle(x).transitionDuration"
    assert page.locator(".bar").first.evaluate(style) == "0s"


def test_hostile_texts_are_only_texts(open_page):
    hostile = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    steps = [[(hostile, -1.0)]]
    view = plots.view(
        {hostile: [[1.0]]}, [hostile], [hostile], title=hostile, steps=steps
    )
    page = open_page(view)
    assert page.locator("#title").inner_text() == hostile
    assert page.title() == hostile
    assert hostile in status(page)
    assert page.locator("#hypotheses .text").inner_text().strip() == hostile
    assert page.locator("img").count() == 0


def test_the_frame_of_a_notebook_works(open_page):
    page = open_page(plots.view([[1.0]]))
    page.set_content(small_view()._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator("#heat-map").click(position={"x": 60, "y": 100})
    frame.locator("#heat-map").press("End")
    frame.locator("#heat-map").press("PageDown")
    found = frame.locator("#status", has_text="target 4 “。” → source 6 “.”")
    found.wait_for(timeout=20_000)
    assert found.is_visible()
