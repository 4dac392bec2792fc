"""The story as customer success lives it: in headless Chromium."""

import re
import secrets
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from inference.demo_model.voices import BASE_SENTENCE
from tests.e2e.conversation import Conversation
from tests.e2e.product import Product, measured
from tests.services import wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

# Chromium's own background traffic would be refused on a closed network, many times a second.
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def page(product: Product) -> Iterator[Page]:
    """A signed-in browser. A page that answers 5xx or throws in its script fails the test."""
    broken: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_context(base_url=product.console_url).new_page()
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("response", lambda r: broken.append(f"{r.status} {r.url}") if r.status >= 500 else None)
        page.goto("/login/?next=/")
        page.fill("input[name=username]", product.admin["username"])
        page.fill("input[name=password]", product.admin["password"])
        page.click("button[type=submit]")
        page.wait_for_url(f"{product.console_url}/")
        yield page
        browser.close()
    assert broken == []


def choose(page: Page, field: str, text: str) -> None:
    """Pick from a searchable list as a person does: open it, type, take the first hit."""
    page.locator(
        f".field-{field} .select2-selection, [name={field}] + .select2 .select2-selection"
    ).first.click()
    page.locator(".select2-search__field").last.fill(text)
    page.locator(".select2-results__option", has_text=text).first.click()


def test_a_new_tenant_is_served_within_minutes_seen_in_usage_and_stopped_with_its_key(
    product: Product, page: Page
) -> None:
    name = f"Initech {secrets.token_hex(3)}"

    page.goto("/tenants/tenant/add/")
    page.fill("input[name=name]", name)
    page.fill("input[name=slug]", name.lower().replace(" ", "-"))
    choose(page, "tier", "Business")
    choose(page, "pool", "default")
    page.click("button[name=_save]")
    expect(page.locator("body")).to_contain_text("added successfully")

    page.goto("/adapters/alias/add/")
    choose(page, "tenant", name)
    page.fill("input[name=name]", "assistant")
    page.click("button[name=_save]")
    expect(page.locator("body")).to_contain_text("added successfully")

    page.goto("/tenants/app/add/")
    choose(page, "tenant", name)
    page.fill("input[name=name]", "Helpdesk")
    page.click("button[name=_save]")
    expect(page.locator("body")).to_contain_text("added successfully")

    page.goto("/tenants/apikey/add/")
    page.locator("select[name=app]").select_option(label=f"{name} / Helpdesk")
    page.click("button:has-text('Create key')")
    shown = page.get_by_label("The whole key").input_value()
    key = re.fullmatch(r"sk-tn-([0-9a-f]{12})-[0-9a-f]{48}", shown)
    assert key is not None

    with product.gateway(key.group()) as client:
        tenant = Conversation(client)
        wait_until(lambda: tenant.client.get("/models").is_success, seconds=5, what="the new tenant")
        answer = tenant.say("assistant")
        assert answer.text == BASE_SENTENCE

        def usage_is_shown() -> bool:
            page.goto(f"/usage/gatewayusage/?q={answer.request_id}")
            text = page.inner_text("body")
            return name in text and str(answer.usage["completion_tokens"]) in text

        wait_until(usage_is_shown, seconds=30, what="the request in the console")

        page.goto(f"/tenants/apikey/{key.group(1)}/change/")
        page.get_by_role("link", name="Revoke").first.click()
        expect(page.locator("body")).to_contain_text(name)
        page.get_by_role("button", name="Revoke").click()
        seconds = measured(
            lambda: tenant.client.get("/models").status_code == 401, seconds=5, what="the key's end"
        )
    assert seconds < 1.0


def test_a_spend_limit_lowered_in_the_console_stops_the_next_request(product: Product, page: Page) -> None:
    with product.api() as api:
        acme = next(t for t in api.get("/tenants/").json()["results"] if t["slug"] == "acme-health")
    change = f"/tenants/tenant/{acme['id']}/change/"

    def set_limit(value: str) -> None:
        page.goto(change)
        page.locator("input[name=monthly_spend_limit]").evaluate("(e, v) => { e.value = v }", value)
        page.locator("button[name=_save]").click()
        expect(page.locator("body")).to_contain_text("changed successfully")

    with product.gateway(product.key("acme")) as client:
        acme_app = Conversation(client)
        acme_app.say("assistant")
        set_limit("0.000001")
        try:
            wait_until(lambda: acme_app.ask("assistant").status_code == 402, seconds=1, what="the limit")
        finally:
            set_limit(str(acme["monthly_spend_limit"]))
        wait_until(lambda: acme_app.ask("assistant").is_success, seconds=5, what="the limit raised again")
