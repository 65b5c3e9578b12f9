"""The pure modules of the page, tested in a browser by the modules of the folder `units`."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from contract import LANGUAGES
from tests.edge.web.site import UNITS, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = sorted(path.stem for path in UNITS.glob("*.js") if path.stem != "harness")

RUN = "async (file) => { await import(file); return (await import('/units/harness.js')).run(); }"


@pytest.mark.parametrize("file", FILES)
async def test_unit(chromium: Browser, site: Site, file: str) -> None:
    page = await chromium.new_page()
    try:
        await page.goto(f"{site.url}/jobs")  # under the policy of the page
        results = await page.evaluate(RUN, f"/units/{file}.js")
    finally:
        await page.close()
    failures = [f"{name}:\n{error}" for name, error in results if error is not None]
    assert not failures, "\n\n".join(failures)
    assert len(results) >= 4


async def test_a_failing_unit_is_reported(chromium: Browser, site: Site) -> None:
    page = await chromium.new_page()
    try:
        await page.goto(f"{site.url}/jobs")
        results = await page.evaluate(
            """async () => {
              const { equal, near, ok, raises, run, test } = await import("/units/harness.js");
              test("equal", () => equal(new Int16Array([1]), [2]));
              test("near", () => near(NaN, 0, 1));
              test("ok", () => ok(0, "not ok"));
              test("raises", () => raises(() => {}, /x/));
              test("fine", () => equal([1], [1]));
              return run();
            }"""
        )
    finally:
        await page.close()
    assert [name for name, error in results if error is None] == ["fine"]


async def test_the_languages_are_those_of_the_server(chromium: Browser, site: Site) -> None:
    page = await chromium.new_page()
    try:
        await page.goto(f"{site.url}/jobs")
        codes = await page.evaluate("import('/web/core/format.js').then((module) => module.LANGUAGES)")
    finally:
        await page.close()
    assert codes == sorted(LANGUAGES)
