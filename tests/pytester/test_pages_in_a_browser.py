"""The report as one HTML page, opened in Chromium: what a person can do with it, and what a name cannot.

One browser serves the whole file. Where there is none, these tests are skipped.
"""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from pages import leak, page, place
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "html_report.py"))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no browser here: install Chromium and its driver (chromium, chromium-driver)"
)


class Browser:
    """Opens pages, and knows what the console said of them."""

    def __init__(self, profile, folder):
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for flag in (*BENCHMARK["FLAGS"], f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NO_PROXY", "*")  # the driver is on this machine
            self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self._folder = folder

    def open(self, text, *, width=1280, theme="light"):
        """Open a page anew, as for the first time."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.emulate(theme=theme)
        file = self._folder / "leaks.html"
        file.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        # Again where a theme had been chosen: what one page stores, the next may see a moment later.
        self.until(lambda: self._is_new(file.as_uri()))

    def _is_new(self, address):
        self.driver.get(address)
        return self.run("const known = localStorage.length; localStorage.clear(); return known") == 0

    def emulate(self, *, theme="light", media=""):
        """Say what the person prefers, and whether it is for paper."""
        feature = {"name": "prefers-color-scheme", "value": theme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})

    def scripts(self, *, allowed):
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, condition):
        """Wait until something holds: it is looked at every few milliseconds."""
        return WebDriverWait(self.driver, 20, poll_frequency=0.02).until(lambda _: condition())

    def visible(self, selector):
        """The texts of what is shown."""
        return [element.text for element in self.all(selector) if element.is_displayed()]

    def console(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """The browser, once for all tests of the file that a worker runs."""
    browser = Browser(tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("pages"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(process):
    """The browser; a test in which the console complains fails."""
    process.console()
    yield process
    assert process.console() == []


RUN = [
    leak(coroutine="Pool.refill", task="pool", created=(), waits=()),
    leak(task="poll-1"),
    leak(task="poll-2"),
    leak(kind="timer", task="", coroutine="remind", verdict="fires in +60 s", nodeid="test_b.py::test_b", ancestors=()),
    leak(kind="future", task="", coroutine="ask", owner="server", owner_kind="fixture", scope="module"),
]


def test_it_is_filtered_by_kind_and_by_text_and_says_how_much_is_shown(browser):
    browser.open(page(*RUN))

    def shown():
        return browser.one("#shown").text

    assert shown() == "4 causes, 5 leaks"
    assert browser.one("h1").text == "4 causes, 3 leaked tasks, 1 leaked timer and 1 leaked future in 2 tests"
    chips = {chip.text: chip for chip in browser.all(".chip")}
    assert set(chips) == {"pending task 2", "timer 1", "future 1"}
    chips["timer 1"].click()
    assert shown() == "1 of 4 causes, 1 leak"
    assert browser.visible("article h3") == ["fires in +60 s"]
    assert browser.visible("h2") == ["IN YOUR OWN CODE", "WHO STARTED IT"]
    assert browser.visible("aside li a") == ["timer for remind"]
    chips["future 1"].click()
    assert shown() == "2 of 4 causes, 2 leaks"
    browser.one("#text").send_keys("server")
    browser.until(lambda: shown() == "1 of 4 causes, 1 leak")
    browser.one("#text").send_keys(" 你好")
    browser.until(lambda: browser.visible("#nothing") == ["Nothing matches “server 你好” among: timer, future."])
    assert shown() == "0 of 4 causes, 0 leaks"
    assert browser.visible("article") == browser.visible("aside li") == []
    browser.one("#clear").click()
    assert shown() == "4 causes, 5 leaks"
    assert len(browser.visible("article")) == 4
    assert not browser.visible("#clear, #nothing")


def test_the_keyboard_reaches_all_of_it(browser):
    browser.open(page(*RUN))

    def focused():
        return browser.driver.switch_to.active_element

    browser.one("body").send_keys("/")
    assert focused().get_attribute("id") == "text"
    focused().send_keys("poll-2")
    browser.until(lambda: browser.one("#shown").text == "1 of 4 causes, 2 leaks")
    focused().send_keys(Keys.ESCAPE)
    assert browser.one("#shown").text == "4 causes, 5 leaks"
    focused().send_keys(Keys.TAB)
    focused().send_keys(Keys.SPACE)
    assert browser.one("#shown").text == "2 of 4 causes, 3 leaks"
    summary = browser.one("article details summary")
    summary.send_keys(Keys.ENTER)
    assert browser.one("article details").get_attribute("open")


def test_a_cause_unfolds_and_its_fingerprint_can_be_copied(browser):
    browser.open(page(*RUN))
    details = browser.one("article details")
    assert not browser.visible("article details dl")
    details.find_element(By.TAG_NAME, "summary").click()
    (told,) = browser.visible("article details dl")
    assert "created at\nbot.py:5 in Bot.start" in told.replace("pages.py", "bot.py")
    assert "by the task\nstarter, created at" in told
    button = browser.until(lambda: browser.all("article details button"))[0]
    button.click()
    browser.until(lambda: button.text in ("Copied", "Selected"))
    fingerprint = RUN[1].fingerprint
    assert browser.run("return getSelection().toString()") == fingerprint
    # A link of the tree leads to its cause, also where a filter has hidden it.
    browser.one("#text").send_keys("remind")
    browser.until(lambda: len(browser.visible("article")) == 1)
    browser.run("location.hash = arguments[0]", f"#c-{fingerprint}")
    browser.until(lambda: len(browser.visible("article")) == 4)


def test_dark_and_light_follow_the_system_until_a_person_chooses(browser):
    def paper():
        return browser.run("return getComputedStyle(document.body).backgroundColor")

    browser.open(page(*RUN), theme="dark")
    dark, button = paper(), browser.one("#theme")
    assert button.text == "Light"
    browser.emulate(theme="light")
    browser.until(lambda: button.text == "Dark")
    browser.until(lambda: paper() != dark)
    light = paper()
    button.click()
    assert (paper(), button.text) == (dark, "Light")

    def is_remembered():
        """The browser stores it a moment later: where the page was left before that, it is chosen once more."""
        browser.driver.refresh()
        if paper() == dark:
            return True
        browser.one("#theme").click()
        return False

    browser.until(is_remembered)
    browser.one("#theme").click()
    assert paper() == light


def test_nothing_leaked_is_a_page_too(browser):
    browser.open(page())
    assert browser.one("h1").text == "nothing leaked"
    assert not browser.all("form, article")
    browser.one("#theme").click()


MARKUP = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "\"><svg onload=window.hacked=3>{{ 7 * 7 }}{% raw %}'`<b>javascript:window.hacked=4</style></title><!--"
)
CONTROL = "\x00\x1b[31m\u202e\ud800\u2028"


def test_a_hostile_name_is_text_and_nothing_else(browser, tmp_path):
    hostile = CONTROL + MARKUP
    file = tmp_path / "test_<img src=x onerror=window.hacked=5>\"'.py"
    file.write_text(f"x = '''{MARKUP}'''\n" * 9, encoding="utf-8")
    at = place(2, path=str(file), function=MARKUP)
    text = page(
        leak(
            **dict.fromkeys(("task", "coroutine", "verdict", "detail", "hint", "settled", "holders", "phase"), hostile),
            owner=hostile,
            nodeid=hostile,
            scope=hostile,
            children=(hostile, "x" * 5_000),
            waits=(at, at),
            created=(at, at),
            ancestors=((hostile, at), (hostile, None)),
        ),
        leak(task="javascript:alert(1)", nodeid="test_" + "x" * 3_000, owner_kind="fixture", owner=hostile),
        root=tmp_path,
    )
    assert not set(CONTROL) - {"[", "3", "1", "m"} & set(text)
    for width in (1280, 400):
        browser.open(text, width=width)
        browser.run("for (const details of document.querySelectorAll('details')) details.open = true")
        assert browser.run("return window.hacked") is None
        assert browser.run("return document.documentElement.scrollWidth") <= width
    assert MARKUP in browser.one("article").text
    assert "\\u202e" in browser.one("article h3").text
    assert len(browser.all("script")) == len(browser.all("style")) == 1
    assert not browser.all("img, iframe, object, svg, base, [onerror], [onload]")
    assert all(link.get_attribute("href").partition("#")[2].startswith(("c-", "owners")) for link in browser.all("a"))


def test_the_policy_of_the_page_lets_no_other_script_run(process):
    process.open(page(*RUN))
    process.console()
    process.run(
        "const script = document.createElement('script'); script.textContent = 'window.hacked = 1';"
        "document.body.append(script); document.body.insertAdjacentHTML('beforeend', '<p onclick=\"hacked = 1\">x');"
        "document.body.lastElementChild.click()"
    )
    assert process.run("return window.hacked") is None
    assert any("Content Security Policy" in message for message in process.console())


def test_it_is_readable_without_its_script_and_on_paper(browser):
    browser.open(page(*RUN))
    assert browser.visible("#filter")
    browser.emulate(media="print")
    assert not browser.visible("#filter, button")
    browser.emulate()
    browser.scripts(allowed=False)
    try:
        browser.driver.refresh()
        assert not browser.visible("#filter, #theme")
        assert len(browser.visible("article h3")) == 4
        browser.one("article summary").click()
        assert "fingerprint" in browser.one("article details").text
    finally:
        browser.scripts(allowed=True)


def test_2_000_causes_fit_the_window_and_are_filtered_too(browser, tmp_path):
    browser.open(page(*BENCHMARK["made_up"](2_000, tmp_path, causes=2_000), root=tmp_path), width=400)
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    assert browser.one("#shown").text == "2,000 causes, 2,000 leaks"
    browser.one("#text").send_keys("consume_1234")
    browser.until(lambda: browser.one("#shown").text == "1 of 2,000 causes, 1 leak")
    assert browser.run("return document.querySelectorAll('aside .tree > li:not([hidden])').length") == 1
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
