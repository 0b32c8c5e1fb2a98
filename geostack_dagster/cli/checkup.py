"""`geostack doctor`: every archive examined, one line for each finding as it comes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.markup import escape

from geostack_dagster.cli.doctor import Finding, Verdict, examine
from geostack_dagster.providers import PROVIDERS, provider_named

_COLOURS = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.FAILURE: "red",
    Verdict.SKIPPED: "dim",
}
_AT_ONCE = 4


def run(slugs: Sequence[str], *, as_table: bool) -> list[Finding]:
    """Findings of all providers, in the order asked.

    Raises:
        ConfigurationError: If a provider is unknown.
    """
    providers = [provider_named(slug) for slug in slugs or PROVIDERS]
    console = Console()
    findings: list[Finding] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for found in pool.map(lambda provider: list(examine(provider)), providers):
            findings += found
            if as_table:
                _show(console, found)
    return findings


def is_ill(findings: Sequence[Finding]) -> bool:
    """Whether anything failed."""
    return any(finding.verdict is Verdict.FAILURE for finding in findings)


def _show(console: Console, findings: Sequence[Finding]) -> None:
    console.print(f"[bold]{findings[0].provider}[/bold]")
    for one in findings:
        colour = _COLOURS[one.verdict]
        console.print(
            f"  [{colour}]{one.verdict.value:<8}[/{colour}] {one.check:<17} {escape(one.message)}",
            soft_wrap=True,
        )
        if one.remedy and one.verdict is not Verdict.OK:
            console.print(f"  {'':<8} {'':<17} -> {escape(one.remedy)}", soft_wrap=True)
