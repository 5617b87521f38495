"""How large the HTML report of very many leaks is, how soon it is open in a browser, and how soon filtered.

Run it with `python benchmarks/html_report.py`; it needs the extra `html`, selenium, Chromium and its driver.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from pytest_taskleak import report
from pytest_taskleak.findings import Place
from pytest_taskleak.leak import Leak

NUMBER = 2_000
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1280,900"),
)
FILTER = """
    const start = performance.now();
    document.getElementById("text").value = "consume_12";
    document.getElementById("filter").dispatchEvent(new Event("change"));
    document.body.offsetHeight;  // asks for the layout
    return performance.now() - start;
"""
TEST = """\
    async def test_{number}(bot):
        await bot.start_{number}()

    async def start_{number}(self):
        self.consumers[{number}] = asyncio.create_task(self.consume_{number}(), name="consumer-{number}")

    async def consume_{number}(self):
        message = await self.inboxes[{number}].get()

"""
LINES = TEST.count("\n")


def made_up(number: int, folder: Path, *, causes: int) -> list[tuple[str, str, list[Leak]]]:
    """So many leaks, each of a test of its own, of so many causes; their source is written to `folder`."""
    path = folder / "tests" / "integration" / "test_bot.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(TEST.format(number=each) for each in range(causes)), encoding="utf-8")

    def own(line: int, function: str, column: int, end: int) -> Place:
        return Place(str(path), line, function, column, end, own=True, module="tests/test_bot.py", first_line=line)

    def library(module: str, line: int, function: str) -> Place:
        return Place(f"/usr/lib/{module}", line, function, None, None, own=False, module=module, first_line=line)

    found: list[tuple[str, str, list[Leak]]] = []
    for test in range(number):
        cause = test % causes
        line = cause * LINES
        nodeid = f"tests/integration/test_bot.py::TestBot::test_{test}[asyncio]"
        waits = own(line + 8, f"TestBot.consume_{cause}", 18, 52)
        created = own(line + 5, f"TestBot.start_{cause}", 28, 90)
        caller = own(line + 2, f"TestBot.test_{cause}", 14, 36)
        leak = Leak(
            kind=("pending", "timer", "future")[cause % 3],
            task=f"consumer-{test}",
            coroutine=f"TestBot.consume_{cause}",
            verdict="never wakes, waits on `Queue.get`",
            detail="the queue is empty, and nothing that is alive can put into it",
            hint="Keep the task, and in the end `cancel()` it and await it; or tell the consumer to end (a sentinel, "
            "`Queue.shutdown()` on 3.13+) and await it.",
            settled="still pending 0.1 s after its owner ended; closing the loop cancelled it",
            waits=(waits, library("asyncio/queues.py", 158, "Queue.get")),
            created=(library("asyncio/tasks.py", 384, "create_task"), created, caller),
            ancestors=((f"starter-{test % 40}", caller),),
            owner_kind="test",
            owner=f"test_{test}[asyncio]",
            scope="function",
            nodeid=nodeid,
            phase="call",
            children=(f"Bot.reply_{cause}, waits on `Event.wait`",),
            holders="`bot.PENDING` (list) -> Session -> Bot -> Task",
        )
        found.append((nodeid, "fail" if cause % 5 else "warn", [leak]))
    return found


def main() -> None:
    """Print size and wall seconds, for leaks of one cause each, and of few causes."""
    from selenium import webdriver  # noqa: PLC0415 - the tests use what is above without it

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no Chromium here")
    for flag in FLAGS:
        options.add_argument(flag)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.add_argument(f"--user-data-dir={folder / 'profile'}")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            browser.get("about:blank")
            for causes in (NUMBER, 20):
                start = time.perf_counter()
                text = report.as_html(made_up(NUMBER, folder, causes=causes), name)
                written = time.perf_counter() - start
                page = folder / f"{causes}.html"
                page.write_text(text, encoding="utf-8")
                times: list[float] = []
                for _ in range(5):
                    start = time.perf_counter()
                    browser.get(page.as_uri())
                    # Two frames later all that is in the window has been painted.
                    browser.execute_async_script(
                        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
                    )
                    times.append(time.perf_counter() - start)
                filtered = browser.execute_script(FILTER)
                print(
                    f"{NUMBER:,} leaks of {causes:,} causes: {page.stat().st_size / 1e6:.2f} MB, written in "
                    f"{written:.2f} s, opened and painted in {min(times):.2f} to {max(times):.2f} s, "
                    f"filtered in {filtered / 1e3:.2f} s"
                )
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
