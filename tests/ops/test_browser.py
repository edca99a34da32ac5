"""The page in a real browser: in each state, light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.ops.scenes import SCENES, SINCE, Scene, Staged, full_of, halted
from tests.support.absent import absent
from tests.support.chromium import Chromium
from tests.support.java import Unavailable
from worker.core.delivery.gate import HaltReason
from worker.core.model import Reason
from worker.ops.answers import Answers
from worker.ops.server import OpsServer
from worker.ops.status import DeadLetter, PartitionStatus

pytestmark = pytest.mark.slow

DESK, PHONE = 1_280, 360
LOOKS = [(DESK, False), (DESK, True), (PHONE, False), (PHONE, True)]
LEAST_CONTRAST = 4.5  # what WCAG 2.2 asks for text, at level AA
HOSTILE = '"><script>document.title=1</script><img src=x onerror="document.title=2">' + "w" * 300

# For every element with text of its own: the contrast of its colour with what lies behind it.
CONTRASTS = """
(() => {
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = parts(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter(node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()))
    .filter(node => !["title", "desc"].includes(node.tagName))
    .map(node => {
      const style = getComputedStyle(node);
      const [high, low] = [light(parts(node.tagName === "text" ? style.fill : style.color)), light(behind(node))]
        .sort((a, b) => b - a);
      return [(high + .05) / (low + .05), node.textContent.trim().slice(0, 40)];
    });
})()
"""
# What sticks out of the window, and does not lie in something that scrolls.
OUTSIDE = """
[...document.querySelectorAll("body *")].filter(node => !node.closest(".scroll") &&
  node.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(node => node.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    try:
        chromium = Chromium(tmp_path_factory.mktemp("chromium"))
    except Unavailable as reason:
        absent(request.config, "REQUIRE_BROWSER", "a browser", reason)
    with chromium:
        yield chromium


@contextmanager
def serving(scene: Scene) -> Iterator[str]:
    """The real server with its real headers, at this address."""
    server = OpsServer("127.0.0.1", 0, answers=Answers(Staged(scene), CollectorRegistry()))
    host, port = server.start()
    try:
        yield f"http://{host}:{port}/"
    finally:
        server.close()


def fits(browser: Chromium, width: int) -> None:
    """Nothing sticks out, and all text can be read."""
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(OUTSIDE) == []
    contrasts = browser.value(CONTRASTS)
    assert len(contrasts) > 40
    assert [found for found in contrasts if found[0] < LEAST_CONTRAST] == []


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_each_state_is_readable_in_light_and_dark_on_a_desk_and_on_a_phone(
    browser: Chromium, scene: Scene, tmp_path: Path
) -> None:
    browser.complaints.clear()
    with serving(scene) as url:
        for width, dark in LOOKS:
            browser.show(f"{url}?refresh=off", width=width, dark=dark)
            browser.screenshot(tmp_path / f"{width}-{'dark' if dark else 'light'}.png")
            fits(browser, width)
            assert (browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)") is dark
        headline = browser.value("document.querySelector('.sentence').textContent")
        assert headline.split(maxsplit=1)[0].strip(":,").lower() == ("stalled" if scene.stall else scene.status.state)
        assert browser.value("document.querySelector('.sentence').getBoundingClientRect().bottom") < 400
        found = browser.accessible()
    assert ("heading", "attribute-worker") in found
    assert {"Calls by outcome, the last 30 minutes", "Held in memory, the last 30 minutes"} <= {
        name for role, name in found if role == "image"
    }
    assert browser.complaints == []


def test_the_link_to_the_runbook_opens_its_page(browser: Chromium) -> None:
    with serving(SCENES["halted-unauthorized"]) as url:
        browser.show(f"{url}?refresh=off", width=PHONE, dark=False)
        browser.show(browser.value("document.querySelector('.state a').href"), width=PHONE, dark=False)
        assert browser.value("document.body.textContent").startswith("# AttributeWorkerHalted")


def test_the_page_needs_no_script(browser: Chromium) -> None:
    with serving(SCENES["running"]) as url:
        browser.show(f"{url}?refresh=off", width=DESK, dark=False)
        with_scripts = browser.value("document.body.innerText.replace(/20\\S+Z/g, '')")
        browser.ask("Emulation.setScriptExecutionDisabled", value=True)
        browser.show(f"{url}?refresh=off", width=DESK, dark=False)
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
        assert browser.value("document.body.innerText.replace(/20\\S+Z/g, '')") == with_scripts
    assert browser.value("document.scripts.length") == 0


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_hostile_and_long_texts_neither_run_nor_break_the_page(browser: Chromium, width: int) -> None:
    browser.complaints.clear()
    with serving(Scene(full_of(HOSTILE))) as url:
        browser.show(f"{url}?refresh=off", width=width, dark=False)
        fits(browser, width)
        assert browser.value("document.querySelectorAll('script, img').length") == 0
        assert browser.value("document.title").startswith(f"halted: {HOSTILE[:60]}")
        assert browser.value("document.body.textContent").count(HOSTILE) >= 16
    assert browser.complaints == []


def test_many_partitions_and_large_numbers_fit(browser: Chromium) -> None:
    partitions = tuple(
        PartitionStatus("t" * 249, number, 1 << 62, 0, 1 << 62, paused=True, oldest_undelivered_seconds=1e8)
        for number in range(300)
    )
    letters = (DeadLetter(SINCE, Reason.INVALID_ATTRIBUTE_NAME.value, "t" * 249, 299, 1 << 62, ("n" * 80,) * 10),) * 10
    full = replace(halted(HaltReason.REJECTION_STORM), partitions=partitions, latest_dead_letters=letters)
    with serving(Scene(replace(full, held_bytes=1 << 40, open_entries=10**9))) as url:
        browser.show(f"{url}?refresh=off", width=PHONE, dark=True)
        fits(browser, PHONE)
