"""The pages of the admin print what is there, to those who may see it, without anything inline."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from models_app.admin.version import ModelVersionAdmin
from models_app.choices import FileStatus, InstanceState
from models_app.models import ModelVersion, RegisteredModel, Transition
from models_app.pages.version_page import history
from tests.admin_rows import (
    SIGNATURE,
    make_all_states,
    make_instance,
    make_node,
    make_staff,
    make_superuser,
    make_version,
)
from tests.registry import make_user

pytestmark = pytest.mark.django_db
LIST = "/admin/models_app/modelversion/"
VECTOR = {"name": "numbers", "dtype": "float32", "shape": [None, 4]}
INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|\sstyle=|<style|\son\w+=", re.IGNORECASE)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    return str(response.content.decode())


def pages(versions: dict[str, ModelVersion]) -> list[str]:
    one = [f"{LIST}{version.pk}/change/" for version in versions.values()]
    pk = versions["unloaded"].pk
    edits = ("labels", "preprocessing", "postprocessing", "options", "engine")
    return [
        "/admin/",
        LIST,
        f"{LIST}?state=attention",
        f"{LIST}?q=nothing-of-this-name",
        f"{LIST}add/",
        *one,
        *(f"{LIST}{pk}/change/?edit={what}" for what in edits),
        f"{LIST}{pk}/delete/",
        f"{LIST}{pk}/log/",
        f"{LIST}{versions['rejected'].pk}/trust/",
        f"{LIST}{versions['loaded'].pk}/delete/",
        *(f"/admin/models_app/{name}/" for name in ("registeredmodel", "apikey", "node", "job", "transition")),
        "/admin/models_app/apikey/add/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/password_change/",
    ]


def test_a_superuser_sees_every_page_and_none_has_anything_inline() -> None:
    make_node()
    versions = make_all_states()
    client = logged_in(make_superuser())

    for address in pages(versions):
        response = client.get(address)

        assert response.status_code == 200, address
        assert not INLINE.search(text_of(response)), (address, INLINE.search(text_of(response)))
        assert "Content-Security-Policy" in response.headers
        assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("models_app/apikey/", "Wall › API keys"),
        ("models_app/apikey/add/", "Wall › API keys › Add API key"),
        ("auth/user/", "Wall › Users"),
        ("auth/user/{user}/change/", "Wall › Users › root"),
        ("auth/user/{user}/password/", "Wall › Users › Set password: root"),
        ("auth/user/{user}/history/", "Wall › Users › root › Change history: root"),
        ("auth/user/{user}/delete/", "Wall › Users › root › Delete"),
        ("models_app/modelversion/{version}/change/", "Wall › Models › digits v1"),
    ],
)
def test_every_page_says_the_same_way_where_it_is(path: str, words: str) -> None:
    user, version = make_superuser(), make_version("digits")

    page = logged_in(user).get(f"/admin/{path}".format(user=user.pk, version=version.pk)).content.decode()

    crumbs = re.search(r'<div class="breadcrumbs">(.*?)</div>', page, re.DOTALL)
    assert crumbs and html.unescape(re.sub(r"<[^>]*>", "", crumbs[1])) == words
    links = re.findall(r'href="([^"]*)"', crumbs[1])
    assert {logged_in(user).get(link).status_code for link in links} == {200}
    assert links[0] == "/admin/"


def test_the_bulk_pages_have_nothing_inline() -> None:
    versions = make_all_states()
    client = logged_in(make_superuser())
    chosen = {"_selected_action": [v.pk for v in versions.values()], "index": 0}

    for action in ("ask_selected", "delete_selected"):
        response = client.post(LIST, {"action": action, **chosen})

        assert response.status_code == 200
        assert not INLINE.search(text_of(response))


def test_staff_who_may_only_view_get_pages_without_buttons() -> None:
    make_node()
    versions = make_all_states()
    client = logged_in(make_staff("view"))

    for address in ["/admin/", LIST, *(f"{LIST}{version.pk}/change/" for version in versions.values())]:
        page = text_of(client.get(address))

        assert "/load/" not in page and "/unload/" not in page and "/delete/" not in page, address
        assert "edit=" not in page and f"{LIST}add/" not in page, address


def test_an_empty_list_offers_an_upload_to_those_who_may() -> None:
    viewer, uploader = (text_of(logged_in(make_staff("view", *more)).get(LIST)) for more in ([], ["add"]))

    assert "There is no model yet." in viewer and f"{LIST}add/" not in viewer
    assert f'<a href="{LIST}add/">Upload one.</a>' in uploader


@pytest.mark.parametrize("address", ["/admin/", LIST, "/password/", "/api/docs/", "/try/"])
def test_the_name_of_the_portal_leads_staff_who_may_not_ask_to_the_wall(address: str) -> None:
    page = text_of(logged_in(make_staff("view")).get(address))

    assert re.findall(r'<div id="site-name"><a href="([^"]*)">', page) == ["/admin/"]


def test_buttons_stand_where_the_state_and_the_rights_allow_them() -> None:
    versions = make_all_states()
    client = logged_in(make_staff("view", "load", "unload"))

    def page(state: str) -> str:
        return text_of(client.get(f"{LIST}{versions[state].pk}/change/"))

    assert "/load/" in page("unloaded") and "/unload/" not in page("unloaded")
    assert "/unload/" in page("loaded") and "/load/" not in page("loaded")
    assert "Cancel" in page("queued") and "Cancel" in page("loading")
    assert "Stop" in page("restarting")
    assert "Load again" in page("failed")
    assert "/load/" not in page("rejected") and "/load/" not in page("checking")


@pytest.mark.parametrize("path", ["", "add/", "1/change/", "1/log/", "1/file/", "1/delete/"])
def test_staff_without_rights_are_refused(path: str) -> None:
    make_version()
    client = logged_in(make_staff())

    assert client.get(f"{LIST}{path}").status_code in {403, 404}


@pytest.mark.parametrize("address", ["/admin/", LIST])
@pytest.mark.parametrize("verbs", [(), ("predict",)])
def test_people_without_staff_rights_are_told_so_and_led_to_what_they_may_do(
    address: str, verbs: tuple[str, ...]
) -> None:
    response = logged_in(make_user("outsider", *verbs)).get(address, follow=True)

    text = text_of(response)
    assert response.status_code == 403
    assert "for people with staff rights, which your account does not have" in text and "Log out" in text
    assert ('<a class="btn" href="/try/">All models</a>' in text) == bool(verbs)


def test_names_from_outside_are_shown_as_text() -> None:
    evil = "<img src=x onerror=alert(1)>"
    version = make_version("plain", labels=[evil, "b", "c"], file_name=evil)
    version.model.description = evil
    version.model.save()
    make_instance(version, InstanceState.FAILED, state_detail=evil)
    Transition.objects.create(
        model_name="plain", version_number=1, after="failed", before="loading", reason=evil, by=evil
    )
    ModelVersion.objects.filter(pk=version.pk).update(trusted_by=evil, trusted_reason=evil)
    client = logged_in(make_superuser())

    for address in ["/admin/", LIST, f"{LIST}{version.pk}/change/", f"{LIST}{version.pk}/change/?edit=labels"]:
        page = text_of(client.get(address))

        assert "<img src=x" not in page, address
        assert "&lt;img src=x onerror" in page, address


def test_a_fragment_is_answered_with_304_while_it_prints_the_same() -> None:
    make_node()
    version = make_version()
    client = logged_in(make_superuser())

    for address in [
        "/admin/?fragment=wall",
        "/admin/?fragment=events",
        "/admin/?fragment=wall,events",
        f"{LIST}?fragment=rows",
        f"{LIST}{version.pk}/change/?fragment=head",
        f"{LIST}{version.pk}/change/?fragment=state",
        f"{LIST}{version.pk}/change/?fragment=side",
    ]:
        first = client.get(address)
        again = client.get(address, headers={"If-None-Match": first.headers["ETag"]})

        assert first.status_code == 200, address
        assert "<html" not in text_of(first)
        assert again.status_code == 304, address
        assert again.content == b""


@pytest.mark.parametrize("query", ["p=7", "nonsense=1"])
def test_rows_of_a_page_that_is_no_more_are_not_found(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelVersionAdmin, "list_per_page", 1)
    make_version("one")
    make_version("two")
    client = logged_in(make_superuser())

    assert client.get(f"{LIST}?{query}&fragment=rows").status_code == 404
    assert client.get(f"{LIST}?{query}").headers["Location"].endswith("?e=1")


def test_a_version_leads_to_its_siblings_and_to_the_description_of_its_model() -> None:
    version = make_version("pets")
    address = f"{LIST}{version.pk}/change/"
    description = reverse("admin:models_app_registeredmodel_change", args=[version.model_id])

    page = logged_in(make_superuser()).get(address).content.decode()
    only_seen = logged_in(make_staff("view")).get(address).content.decode()

    assert f'href="{LIST}?q=pets"' in page and f'href="{LIST}?q=pets"' in only_seen
    assert description in page and "Describe it" in page
    assert description not in only_seen


def test_all_parts_of_a_page_come_with_one_answer() -> None:
    address = f"{LIST}{make_version().pk}/change/"
    client = logged_in(make_superuser())

    parts = client.get(f"{address}?fragment=head,state,side,nonsense,head").content.decode()

    assert [parts.count(f'id="{name}" data-live="?"') for name in ("head", "state", "side")] == [1, 1, 1]
    assert "<html" not in parts
    assert "<html" in client.get(f"{address}?fragment=nonsense").content.decode()


def test_a_fragment_changes_with_the_state() -> None:
    version = make_version()
    client = logged_in(make_superuser())
    address = f"{LIST}{version.pk}/change/?fragment=head"
    etag = client.get(address).headers["ETag"]

    make_instance(version)

    assert client.get(address, headers={"If-None-Match": etag}).status_code == 200


def test_the_first_page_offers_the_sample_as_soon_as_it_is_checked() -> None:
    sample = make_version("digits", status=FileStatus.CHECKING)
    client = logged_in(make_superuser())
    address = "/admin/?fragment=first-run"

    checking = text_of(client.get(address))
    assert text_of(client.get("/admin/")).count("digits, is being checked") == 1
    assert "data-moving" in checking and "Load digits" not in checking

    ModelVersion.objects.filter(pk=sample.pk).update(status=FileStatus.READY)
    ready = text_of(client.get(address))
    assert "data-moving" not in ready and "Load digits and try it" in ready

    make_version("another")
    assert client.get(address).status_code == 404


def test_fragments_need_the_right_to_view() -> None:
    version = make_version()
    client = logged_in(make_staff())

    assert client.get(f"{LIST}?fragment=rows").status_code == 403
    assert client.get(f"{LIST}{version.pk}/change/?fragment=head").status_code == 403
    assert client.get("/admin/?fragment=wall").status_code == 403
    assert client.get("/admin/?fragment=first-run").status_code == 403


def test_chips_count_and_filter() -> None:
    make_all_states()
    client = logged_in(make_superuser())

    page = text_of(client.get(LIST))
    shown = {state: text_of(client.get(f"{LIST}?state={state}")) for state in ("loaded", "moving", "attention")}

    for word, count in (("All", 9), ("Loaded", 1), ("On the way", 5), ("Needs you", 2), ("Unloaded", 1)):
        assert re.search(rf">{word} <b>{count}</b>", page), word
    assert "loaded v1" in shown["loaded"] and "queued v1" not in shown["loaded"]
    assert "checking v1" in shown["moving"] and "unloaded v1" not in shown["moving"]
    assert "rejected v1" in shown["attention"] and "failed v1" in shown["attention"]


def test_a_search_finds_a_version_as_it_is_printed_and_the_chips_count_what_it_finds() -> None:
    make_node()
    make_version("cats")
    make_instance(make_version("cats"))
    make_version("dogs")
    client = logged_in(make_superuser())

    found = text_of(client.get(LIST, {"q": "cats v2"}))
    nothing = text_of(client.get(LIST, {"q": "dogs", "state": "loaded"}))

    make_version("mobilenet-v2")
    named = [text_of(client.get(LIST, {"q": words})) for words in ("v2", "mobilenet v2", "mobilenet-v2")]

    assert all("mobilenet-v2 v1" in text and "cats" not in text for text in named)
    assert "cats v2" in found and "cats v1" not in found
    assert re.search(r">All <b>1</b>", found) and re.search(r">Loaded <b>1</b>", found)
    assert "Under “Loaded” there is no model called “dogs”." in nothing
    assert 'href="/admin/models_app/modelversion/?q=dogs"' in nothing


def test_the_wall_stays_short() -> None:
    make_node(slots=1)
    for number in range(7):
        make_instance(make_version(f"queued{number}"), InstanceState.QUEUED)
        make_instance(make_version(f"failed{number}"), InstanceState.FAILED)
    replaced = make_version("cats", FileStatus.REJECTED)
    replaced.jobs.create(kind="check", state="done", finished_at=timezone.now())
    make_version("cats")

    text = text_of(logged_in(make_superuser()).get("/admin/"))

    assert "queued4 v1</a>" in text and "queued5 v1</a>" not in text and "2 more wait for a slot" in text
    assert "2 more need you" in text
    assert "failed6 v1" in text and "failed1 v1" not in text
    assert "cats v1" not in text


def test_moments_are_in_the_zone_of_the_browser() -> None:
    make_node()
    make_instance(make_version())
    client = logged_in(make_superuser())

    def updated(zone: str) -> datetime:
        client.cookies["zone"] = zone
        return datetime.strptime(client.get("/admin/?fragment=wall").headers["X-Updated"], "%H:%M:%S")

    ahead = (updated("Asia/Tokyo") - updated("no/such/zone")).total_seconds() % 86400
    assert abs(ahead - 9 * 3600) < 60
    assert client.get("/admin/", headers={"Cookie": "zone=../../etc/passwd"}).status_code in {200, 302}


def test_a_load_that_has_a_free_slot_is_about_to_start_and_the_others_have_a_place() -> None:
    make_node(slots=2)
    make_instance(make_version("loaded"))
    for name in ("first", "second", "third"):
        make_instance(make_version(name), InstanceState.QUEUED)

    text = text_of(logged_in(make_staff("view", "load")).get(LIST))

    assert text.count("It is about to start.") == 1
    assert "Place 2 of 3: it loads as soon as a slot is free." in text and "Place 3 of 3:" in text


def test_the_wall_shows_the_queue_in_its_order() -> None:
    make_node(slots=0)
    for name in ("zebra", "ant", "mole"):
        make_instance(make_version(name), InstanceState.QUEUED)

    text = text_of(logged_in(make_staff("view", "load")).get("/admin/"))

    places = [text.index(f"{name} v1</a>") for name in ("zebra", "ant", "mole")]
    assert places == sorted(places)


def test_the_rows_of_the_list_come_with_the_slots_that_are_free() -> None:
    make_node(slots=4)
    make_instance(make_version())

    assert "3 of 4 slots free" in text_of(logged_in(make_staff("view")).get(f"{LIST}?fragment=rows"))


def test_blocks_of_memory_are_links_in_a_group_and_every_column_has_a_head() -> None:
    make_node()
    make_instance(make_version())
    client = logged_in(make_staff("view"))

    wall = text_of(client.get("/admin/"))

    assert 'class="membar"' in wall and not re.search(r'class="membar"[^>]*role="img"', wall)
    assert '<span class="visually-hidden">Buttons</span>' in text_of(client.get(LIST))


def test_figures_and_regions_have_names_that_are_read_out() -> None:
    make_instance(version := make_version())
    client = logged_in(make_staff("view"))

    wall, page = text_of(client.get("/admin/")), text_of(client.get(f"{LIST}{version.pk}/change/"))

    for name in ("p95", "Queue", "Memory"):  # the head of the columns stands apart from the rows
        assert f'<span class="visually-hidden">{name}</span>' in wall
    assert "<pre" in page and not re.search(r"<pre(?![^>]* role=)[^>]* aria-label=", page), "a name needs a role"


def test_a_description_keeps_its_lines() -> None:
    version = make_version()
    RegisteredModel.objects.update(description="Of cats.\n\n<b>Trained</b> by us.")

    page = text_of(logged_in(make_staff("view")).get(f"{LIST}{version.pk}/change/"))

    assert "Of cats.<br><br>&lt;b&gt;Trained&lt;/b&gt; by us." in page


def test_a_version_says_in_words_how_it_is_asked_and_what_runs_it() -> None:
    pictures = make_version(postprocessing_json={"top": 3}, preprocessing_json={"size": [64, 64]})
    numbers = make_version("numbers", signature_json={**SIGNATURE, "inputs": [VECTOR]})
    client = logged_in(make_staff("view"))

    page, other = (text_of(client.get(f"{LIST}{version.pk}/change/")) for version in (pictures, numbers))

    assert "An answer holds the best 3." in page
    assert page.count("preprocessing.size is 64 × 64 and the model takes 8 × 8.") == 2, "in a hint, too"
    assert "engine <b>tensorflow f32</b>: the engine that made the file</span>" in page
    assert "input (any × 4, float32) takes no pictures.</p>" in other


def test_nothing_is_about_to_start_while_the_cluster_is_silent() -> None:
    make_node(last_seen=None)
    make_instance(make_version(), InstanceState.QUEUED)

    assert "about to start" not in text_of(logged_in(make_staff("view", "load")).get(LIST))


def test_the_wall_welcomes_until_something_was_loaded() -> None:
    make_node()
    make_version("digits")
    client = logged_in(make_superuser())

    assert "Load digits and try it" in text_of(client.get("/admin/"))

    Transition.objects.create(model_name="digits", version_number=1, after="queued", reason="Load asked for.")

    assert "Load digits and try it" not in text_of(client.get("/admin/"))


def test_the_wall_says_when_the_cluster_is_silent() -> None:
    make_node(last_seen=None)
    make_version()

    for address in ("/admin/", LIST):
        assert "has not answered" in text_of(logged_in(make_superuser(address)).get(address))


def test_a_node_tells_its_memory_and_when_it_was_seen_in_words() -> None:
    node = make_node(last_seen=datetime(2026, 11, 20, 16, 31, tzinfo=UTC))

    text = text_of(logged_in(make_staff("view")).get(f"/admin/models_app/node/{node.pk}/change/"))

    assert "cpu: 9.0 GB of 16.0 GB free" in text
    assert "20 Nov 2026, 16:31" in text


def test_the_tables_of_the_task_queue_are_not_there() -> None:
    shown = {model._meta.app_label for model in admin.site._registry}

    assert "django_q" not in shown
    assert "models_app" in shown


def test_no_table_is_searched_by_a_regular_expression() -> None:
    """Python matches it for SQLite, and nothing else of the web process runs meanwhile: `(.+)+x` takes for ever."""
    client = logged_in(make_superuser())
    for model in admin.site._registry:
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

        answers = [client.get(address, {f"pk__{lookup}": "1"}).status_code for lookup in ("exact", "regex", "iregex")]

        assert answers == [200, 400, 400], model


def test_name_and_number_lead_to_the_page() -> None:
    version = make_version("cats")
    client = logged_in(make_staff("view"))

    response = client.get(f"{LIST}open/cats/1/")

    assert response.headers["Location"] == reverse("admin:models_app_modelversion_change", args=[version.pk])
    assert client.get(f"{LIST}open/cats/9/").status_code == 404


def test_who_may_change_may_see_what_the_page_offers() -> None:
    version = make_version(with_file=True)
    client = logged_in(make_staff("change"))

    assert client.get(f"{LIST}{version.pk}/change/").status_code == 200
    assert client.get(f"{LIST}{version.pk}/log/").status_code == 200
    assert client.get(f"{LIST}{version.pk}/file/").status_code == 200


def test_who_may_only_upload_is_told_that_it_worked() -> None:
    make_version("cats")
    client = logged_in(make_staff("add"))

    assert f'href="{LIST}add/"' in text_of(client.get("/admin/"))
    told = client.get(f"{LIST}open/cats/1/", follow=True)
    assert told.redirect_chain == [(f"{LIST}add/", 302)]
    assert "cats v1 was uploaded and is being checked." in text_of(told)
    assert logged_in(make_staff("load")).get(f"{LIST}open/cats/1/").status_code == 403


def test_a_version_has_no_history_of_an_earlier_model_of_its_name() -> None:
    version = make_version("digits")
    earlier = Transition.objects.create(
        model_name="digits", version_number=version.number, before="ready", after="stopped", reason="Of another file."
    )
    Transition.objects.filter(pk=earlier.pk).update(at=version.created_at - timedelta(hours=1))
    Transition.objects.create(model_name="digits", version_number=version.number, after="uploaded", reason="Of this.")
    client = logged_in(make_superuser())

    page = text_of(client.get(f"{LIST}{version.pk}/change/"))
    told = client.get(f"/api/models/digits/versions/{version.number}/history/").json()["results"]

    assert "Of another file." not in page
    assert [row["reason"] for row in told] == ["Of this."]
    assert [row.reason for row in history(version)] == ["Of this."]


def test_a_version_keeps_its_history_when_the_clock_goes_back() -> None:
    version = make_version("digits")
    ModelVersion.objects.filter(pk=version.pk).update(created_at=version.created_at + timedelta(hours=1))
    for after in ("uploaded", "queued"):
        Transition.objects.create(model_name="digits", version_number=version.number, after=after)

    version.refresh_from_db()
    assert [row.after for row in history(version)] == ["queued", "uploaded"]
