"""A person at the browser: what they look for is found by its role and its text."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Error, Locator, Page, expect

PATIENCE_MS = 90_000
"""For one thing to appear on a busy machine."""
GLANCE_MS = 20_000
"""For what was done to show; then it is done again."""
TRIES = 3
DAEMON_MS = 240_000
"""For the daemon to see one more run or tick to its end on a busy machine."""
BACKFILL_MS = 480_000
"""For a backfill to end on a busy machine."""
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
        found = self.page.get_by_text(text).filter(visible=True).first
        expect(found).to_be_visible(timeout=within_ms)
        return found

    def sees_no_more(self, text: str) -> None:
        """Wait until a text is gone."""
        expect(self.page.get_by_text(text)).to_have_count(0)

    def opens_the_picture(self, name: str) -> int:
        """Open a picture of the asset page they are at; its width [px]."""
        row = self.page.get_by_role("row").filter(has=self.page.get_by_text(name, exact=True))
        picture = self.page.get_by_role("img", name=name)
        self.clicks(row.get_by_text("Show Markdown").first, until=picture)
        width: int = picture.evaluate("image => image.decode().then(() => image.naturalWidth)")
        return width

    def closes_the_picture(self, name: str) -> None:
        """Close the picture that is open."""
        picture = self.page.get_by_role("img", name=name)
        self._insists(
            lambda: self.page.keyboard.press("Escape"),
            lambda: expect(picture).to_have_count(0, timeout=GLANCE_MS),
        )

    def materialize(
        self, pipeline: str, dates: str, aois: tuple[str, ...], *, partitions: int
    ) -> None:
        """Launch a whole pipeline over dates x AOIs, which are so many partitions."""
        self.visit(f"{LOCATION}/asset-groups/{pipeline}/lineage")
        dialog = self.page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
        confirm = self.page.get_by_role("button", name="Confirm")
        everything = self.page.get_by_role("button", name="Materialize all")
        self.clicks(everything, until=dialog.or_(confirm).first)
        if confirm.is_visible():  # a parent in another group is not there yet, such as a model
            confirm.click()
        chosen = dialog.get_by_text(re.compile(f"^{partitions} partitions?$"))
        self._insists(
            lambda: self._chooses(dialog, dates, aois),
            lambda: expect(chosen).to_be_visible(timeout=GLANCE_MS),
        )
        launch = dialog.get_by_role("button", name=re.compile("^Launch"))
        expect(launch).to_be_enabled()
        self.photograph(f"launch_{pipeline}")
        launch.click()
        expect(dialog).to_have_count(0)  # it stays open where the launch is refused

    def waits_for_runs(self, number: int) -> None:
        """Stay at the list of runs until so many have succeeded; none may fail."""
        self.visit("/runs")
        expect(self.page.get_by_role("link", name=re.compile("^run "))).to_have_count(number)
        for ended in range(number):
            self._waits_for_success(ended + 1, within_ms=DAEMON_MS)

    def waits_for_the_backfill(self, partitions: int) -> None:
        """Stay at the list of backfills until the one there, of so many partitions, succeeded."""
        self.visit("/runs")
        tab = self.page.get_by_role("tab", name="Backfills")
        self.clicks(tab, until=self.page.get_by_text(f"{partitions} partitions"))
        self._waits_for_success(1, within_ms=BACKFILL_MS)

    def turns_on(self, sensor: str) -> None:
        """Flip the switch of a sensor."""
        self.visit(f"{LOCATION}/sensors/{sensor}")
        switch = self.page.get_by_role("checkbox").first
        expect(switch).not_to_be_checked()
        self.page.locator("label").filter(has=switch).click()
        expect(switch).to_be_checked()

    def reads_of_a_tick(self, reason: re.Pattern[str]) -> None:
        """Open the newest tick of the sensor that has ended; it gives a reason."""
        ticks = self.page.get_by_role("row").filter(has_text="View logs")
        # What is opened while the sensor still evaluates never tells the outcome.
        ended = ticks.filter(has_not_text="Evaluating").first
        expect(ended).to_be_visible(timeout=DAEMON_MS)
        told = self.page.get_by_role("dialog").get_by_text(reason)

        def opens() -> None:
            self.page.keyboard.press("Escape")  # what was opened before, if it does not tell
            ended.get_by_role("button", name="requested").click(timeout=GLANCE_MS)

        self._insists(opens, lambda: expect(told).to_be_visible(timeout=GLANCE_MS))

    def clicks(self, what: Locator, *, until: Locator) -> None:
        """Click on something when it is there, until something else is seen."""
        expect(what).to_be_visible()
        self._insists(
            lambda: what.click(timeout=GLANCE_MS),
            lambda: expect(until).to_be_visible(timeout=GLANCE_MS),
        )

    def testifies(self, name: str) -> str:
        """Keep a picture and the text of what is seen; of open dialogs, or the page, the text."""
        with suppress(Error):
            self.photograph(name)
        try:
            page = self.page.locator("body").aria_snapshot(timeout=GLANCE_MS)
            dialogs = [
                dialog.aria_snapshot(timeout=GLANCE_MS)
                for dialog in self.page.get_by_role("dialog").all()
            ]
        except Error as error:
            page, dialogs = str(error), []
        at = f"at {self.page.url}, complaints: {self.complaints}"
        (self.album / f"{name}.txt").write_text(f"{at}\n{page}\n")
        return "\n".join([at, *(dialogs or [page])])

    def _chooses(self, dialog: Locator, dates: str, aois: tuple[str, ...]) -> None:
        """Choose in the dialog of a launch, whose parts come one after the other."""
        # Until partitions are known there is a list in the place of the field for dates.
        field = dialog.get_by_role("textbox", name="ex: 2")
        expect(field).to_be_visible()
        choices = dialog.get_by_role("menuitem")
        self.clicks(dialog.locator("[aria-haspopup=dialog]"), until=choices.first)
        for aoi in aois:
            choice = choices.filter(has_text=aoi)
            if not choice.get_by_role("checkbox").is_checked():
                choice.click()
            expect(choice.get_by_role("checkbox")).to_be_checked(timeout=GLANCE_MS)
        self.page.keyboard.press("Escape")
        # Each time that the dialog draws itself, as when the state of one more asset arrives, the
        # list takes the focus, even while it fades out: dates would be typed into its filter.
        expect(choices).to_have_count(0)
        field.fill(dates)
        expect(field).to_have_value(dates, timeout=GLANCE_MS)
        field.press("Tab")

    def _waits_for_success(self, number: int, *, within_ms: int) -> None:
        """Wait until the list has so many successes, or at once a failure, which is none."""
        success, failure = (
            self.page.get_by_text(words, exact=True) for words in ("Success", "Failure")
        )
        expect(success.nth(number - 1).or_(failure).first).to_be_visible(timeout=within_ms)
        assert failure.count() == 0

    def _insists(self, act: Callable[[], object], seen: Callable[[], object]) -> None:
        """Act until that is seen to have worked: a page that draws itself anew loses clicks."""
        for left in reversed(range(TRIES)):
            with suppress(Error, AssertionError):
                act()
            try:
                seen()
            except AssertionError:
                if not left:
                    raise
            else:
                return

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)
