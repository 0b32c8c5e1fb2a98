"""A person at the browser: what they look for is found by its role and its text."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

PATIENCE_MS = 240_000
"""For one thing to appear on a busy machine."""
LOCATION = "/locations/geostack"


@dataclass
class Person:
    """Clicks through Dagster's UI and keeps a picture of what they see."""

    page: Page
    album: Path
    url: str = ""
    """Address of the UI that they look at."""
    complaints: list[str] = field(default_factory=list)
    """Errors in the browser's console."""

    def __post_init__(self) -> None:
        self.album.mkdir(parents=True, exist_ok=True)
        self.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def visit(self, path: str) -> None:
        """Open a page."""
        self.page.goto(self.url + path)

    def photograph(self, name: str, *, whole: bool = False) -> None:
        """Keep what is seen, or the whole page, when nothing fades in or out any more."""
        picture = self.album / f"{name}.png"
        self.page.screenshot(path=picture, full_page=whole, animations="disabled")

    def sees(self, text: str | re.Pattern[str], *, within_ms: int = PATIENCE_MS) -> Locator:
        """Wait for a text."""
        found = self.page.get_by_text(text).first
        expect(found).to_be_visible(timeout=within_ms)
        return found

    def sees_no_more(self, text: str) -> None:
        """Wait until a text is gone."""
        expect(self.page.get_by_text(text)).to_have_count(0)

    def opens_the_picture(self, name: str) -> int:
        """Open a picture of the asset page they are at; its width [px]."""
        row = self.page.get_by_role("row").filter(has=self.page.get_by_text(name, exact=True))
        row.get_by_text("Show Markdown").first.click()
        picture = self.page.get_by_role("img", name=name)
        picture.wait_for()
        width: int = picture.evaluate("image => image.decode().then(() => image.naturalWidth)")
        return width

    def materialize(self, pipeline: str, dates: str, aois: tuple[str, ...]) -> None:
        """Choose partitions of a whole pipeline and launch them."""
        self.visit(f"{LOCATION}/asset-groups/{pipeline}/lineage")
        self.page.get_by_role("button", name="Materialize all").click()
        dialog = self.page.get_by_role("dialog").first
        field = dialog.get_by_role("textbox", name="ex: 2")
        choose = dialog.get_by_text("Select a partition or create one")
        confirm = self.page.get_by_role("button", name="Confirm")
        expect(field.or_(confirm)).to_be_visible()
        if confirm.is_visible():  # a parent in another group is not there yet, such as a model
            confirm.click()
        # Until partitions are known there is a field for AOIs in the place of that for dates.
        expect(field).to_be_visible()
        expect(choose).to_have_count(1)
        choose.click()
        for aoi in aois:
            self.page.get_by_role("menuitem", name=aoi).click()
        self.page.keyboard.press("Escape")
        field.fill(dates)
        field.press("Tab")
        launch = dialog.get_by_role("button", name=re.compile("^Launch"))
        expect(launch).to_be_enabled()
        expect(self.page.get_by_role("menuitem")).to_have_count(0)  # the list of AOIs fades out
        self.photograph(f"launch_{pipeline}")
        launch.click()
        self.sees(re.compile("^(Launched run|Created backfill)"))

    def waits_for_runs(self, number: int, *, within_ms: int) -> None:
        """Stay at the list of runs until so many have succeeded and none failed."""
        self.visit("/runs")
        self.sees("Launched by")
        success, failure = (
            self.page.get_by_text(words, exact=True) for words in ("Success", "Failure")
        )
        expect(success).to_have_count(number, timeout=within_ms)
        expect(failure).to_have_count(0)

    def turns_on(self, sensor: str) -> None:
        """Flip the switch of a sensor."""
        self.visit(f"{LOCATION}/sensors/{sensor}")
        switch = self.page.get_by_role("checkbox").first
        expect(switch).not_to_be_checked()
        self.page.locator("label").filter(has=switch).click()
        expect(switch).to_be_checked()

    def reads_the_last_tick(self) -> None:
        """Open what the newest tick of the sensor says."""
        tick = self.page.get_by_role("row").filter(has_text="View logs").first
        tick.get_by_text("requested").last.click()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)
