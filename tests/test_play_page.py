"""The page of `play` in a browser: mouse and keyboard work, quickly, without an error and without a request."""

import os
import shutil

import pytest
import torch

import toy_score as ts
from toy_score import __main__ as entry
from toy_score.backbones import MLP
from toy_score.compare.contestants import NETWORK, Contestant
from toy_score.denoisers import NetworkDenoiser
from toy_score.parameterisations import EDMPreconditioning, LogSigma
from toy_score.play.page import page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FIELD_MS, CLOUD_MS = 50.0, 500.0
"""What an update of the field and a cloud of 500 points by RungeKutta4(5) may take, of the processor's time."""


def html():
    """The page of a network of the usual size, untrained, on the heart."""
    torch.manual_seed(0)
    schedule = ts.EDM(0.02, 500.0)
    network = NetworkDenoiser(MLP(), schedule, EDMPreconditioning(), LogSigma())
    return page([Contestant("untrained", NETWORK, network, ts.Heart(), (ts.RungeKutta4(),))])


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[browser]'")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: the page is not tested in a browser")
    with api.sync_playwright() as playwright:
        arguments = ["--disable-background-networking", "--no-sandbox"]  # as root there is no sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("play") / "play.html"
    path.write_text(html(), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    """Opens the page, `opened(hash, **options)`; afterwards there must be no message, no error, and one request."""
    contexts, complaints, requests = [], [], []

    def open_page(address="", width=1400, height=1000, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(file.as_uri() + address)
        tab.wait_for_function("document.body.dataset.fieldTime")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((file.as_uri(), "data:"))] == []


def pixels(tab):
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return tab.evaluate("document.getElementById('plane').toDataURL()")


def test_the_slider_a_click_and_keys_change_what_is_seen(opened, tmp_path):
    tab = opened()
    seen = [pixels(tab)]

    def changes():
        seen.append(pixels(tab))
        assert seen[-1] != seen[-2]

    slider, plane = tab.locator("#noise").bounding_box(), tab.locator("#plane").bounding_box()
    middle = slider["y"] + slider["height"] / 2
    tab.mouse.move(slider["x"] + 0.3 * slider["width"], middle)
    tab.mouse.down()
    tab.mouse.move(slider["x"] + 0.45 * slider["width"], middle, steps=4)
    tab.mouse.up()
    changes()
    tab.mouse.click(plane["x"] + 0.3 * plane["width"], plane["y"] + 0.7 * plane["height"])
    changes()
    assert tab.inner_text("#firstResult").startswith("17 evaluations, ends ")
    assert tab.inner_text("#secondResult").startswith("10 evaluations, ends ")
    for key in "234":
        tab.locator("#plane").press(key)
        changes()
    tab.locator("#plane").press("s")
    changes()
    picture = tmp_path / "play.png"
    tab.screenshot(path=picture)
    assert picture.stat().st_size > 20_000


def test_a_cloud_arrives_at_the_data_and_the_exact_one_at_the_noise_floor(opened):
    tab = opened("#field=exact")
    for _ in range(5):
        tab.click("#step")
        pixels(tab)
    assert tab.inner_text("#level") == "0.02"
    assert 0.5 < float(tab.inner_text("#multiple")[:-1]) < 2.0  # the seed is fixed
    assert "17 evaluations" in tab.inner_text("#key")
    tab.click("#play")
    assert tab.inner_text("#play") == "Pause"
    tab.wait_for_function("document.getElementById('play').textContent === 'Play'", timeout=60_000)


def test_drawn_points_have_a_field_at_once_and_a_link_keeps_everything(opened):
    tab = opened()
    tab.click("#draw")
    plane = tab.locator("#plane").bounding_box()
    before = pixels(tab)
    for x, y in ((0.3, 0.3), (0.5, 0.7), (0.7, 0.3)):
        tab.mouse.click(plane["x"] + x * plane["width"], plane["y"] + y * plane["height"])
    assert pixels(tab) != before
    assert tab.inner_text("#count").startswith("3 of")
    again = opened(tab.evaluate("location.hash"))
    assert again.inner_text("#count") == tab.inner_text("#count")
    assert pixels(again) == pixels(tab)


EIGHT = "#data=2&network=-1"


def test_an_observation_of_a_mixture_has_its_exact_posterior_and_a_rule_beside_it(opened):
    """The cloud of the exact posterior is at the noise floor, that of DPS is not; a link keeps the observation."""
    tab = opened(EIGHT)
    before = pixels(tab)
    tab.select_option("#seen", "1")
    assert pixels(tab) != before
    assert tab.inner_text("#field [data-value=learned]") == "TMPD"
    assert "TMPD score" in tab.inner_text("#key")
    multiples = {}
    tab.select_option("#rule", "DPS")
    tab.select_option("#first", "DDPMAncestral")
    for field in ("exact", "learned"):
        tab.click(f"#field [data-value={field}]")
        tab.evaluate("{ newCloud(); while (cloud.step()); draw(); }")
        multiples[field] = float(tab.inner_text("#multiple")[:-1])
    assert 0.5 < multiples["exact"] < 2.0 < multiples["learned"]
    tab.fill("#value", "2")
    tab.press("#value", "Enter")
    again = opened(tab.evaluate("location.hash"))
    assert again.input_value("#value") == "2"
    assert again.input_value("#rule") == "DPS"
    assert pixels(again) == pixels(tab)
    tab.select_option("#data", "0")
    assert tab.is_disabled("#seen")
    assert tab.inner_text("#field [data-value=learned]") == "learned"


def test_an_address_with_an_observation_that_cannot_be_has_that_of_the_start(opened):
    tab = opened(EIGHT + "&seen=1&std=-1&value=1e9&rule=no")
    assert [tab.input_value(f"#{name}") for name in ("std", "value", "rule")] == ["0.3", "1", "TMPD"]


def cpu_ms(tab, script, times=1):
    """The processor's time of the page's thread, in milliseconds, for running a script so many times: other work on the
    machine does not count."""
    session = tab.context.new_cdp_session(tab)
    session.send("Performance.enable")

    def used():
        return {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}["ThreadTime"]

    before = used()
    tab.evaluate(f"() => {{ for (let k = 0; k < {times}; k++) {{ {script} }} }}")
    milliseconds = 1000.0 * (used() - before) / times
    session.detach()
    return milliseconds


CLOUD = """const random = new Random(k), { schedule } = problem;
for (const _ of walk(samplerOf("first"), moving(), startOf({}, schedule, 500, random), random));"""


def test_the_field_and_the_cloud_are_quick(opened):
    tab = opened()
    for field in ("learned", "difference"):
        tab.click(f"#field [data-value={field}]")
        pixels(tab)
        took = cpu_ms(tab, "state.level *= 1.1; computeField();", times=10)
        assert 0.5 < took < FIELD_MS, field
    assert 5.0 < cpu_ms(tab, CLOUD) < CLOUD_MS


def test_the_time_that_is_measured_is_that_of_the_script(opened):
    tab = opened()
    assert cpu_ms(tab, "const end = performance.now() + 60; while (performance.now() < end);") > 5.0


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_its_window_and_follows_the_dark_mode(opened, width):
    tab = opened(width=width, color_scheme="dark", has_touch=True)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.tap("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    tab.tap("#plane")
    assert "evaluations" in tab.inner_text("#firstResult")


def test_the_command_writes_one_page_and_refuses_what_it_cannot_show(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry.main(["play", "--data", "Moons"])
    text = (tmp_path / "play.html").read_text(encoding="utf-8")
    assert "http" not in text.lower()
    assert "<h1>Diffusion of the moons, to play with</h1>" in text
    assert "the exact way back at every noise level, without a network." in text
    assert os.listdir(tmp_path) == ["play.html"]
    for argv, message in (
        (["--data", "Moons"], "'play.html' exists; choose another --output or add --overwrite"),
        (["--data", "Hart", "--output", "a.html"], "there is no distribution 'Hart'; did you mean Heart?"),
        (["--output", "a.html"], "play needs either runs or --data; for example: play latest, or play --data Heart"),
        (["--dat", "Heart"], "play has no option --dat; did you mean data?"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            entry.main(["play", *argv])
        assert (stop.value.code, capsys.readouterr().err) == (2, f"error: {message}\n")
