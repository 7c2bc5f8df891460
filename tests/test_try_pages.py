"""The try pages without a running model: who sees them, what they say, what they never do with names of strangers."""

from __future__ import annotations

import ast
import re
from typing import TypeGuard

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from models_app.choices import FileStatus, InstanceState
from models_app.models import Instance, Node, RegisteredModel
from models_app.services.nodes import this_node
from models_app.tryit.snippets import snippets
from tests.admin_client import text_of
from tests.registry import NUMBERS, PICTURES, SCORES, make_user, make_version

pytestmark = pytest.mark.django_db
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def asker(client: Client) -> Client:
    """A person who may ask and nothing else."""
    client.force_login(make_user("ada", "predict"))
    return client


@pytest.fixture
def loader(client: Client) -> Client:
    client.force_login(make_user("grace", "predict", "load"))
    return client


# ---- who


@pytest.mark.parametrize("address", ["/try/", "/try/digits/", "/try/digits/?version=1"])
def test_a_visitor_is_sent_to_the_login_page(client: Client, address: str) -> None:
    response = client.get(address)

    assert response.status_code == 302
    assert response["Location"].startswith("/login/?next=/try/")


@pytest.mark.parametrize("address", ["/try/", "/try/digits/"])
def test_who_may_not_ask_is_told_so(client: Client, address: str) -> None:
    make_version()
    client.force_login(make_user("eve", "view"))

    response = client.get(address)

    assert response.status_code == 403
    assert "may not ask models" in text_of(response)


def test_who_may_not_load_cannot_load_by_address(asker: Client) -> None:
    make_version()

    response = asker.post("/try/digits/load/", {"version": "1"})

    assert response.status_code == 403
    assert not Instance.objects.exists()


def test_loading_by_a_link_is_not_possible(loader: Client) -> None:
    make_version()

    assert loader.get("/try/digits/load/").status_code == 302
    assert not Instance.objects.exists()


def test_who_had_to_log_in_after_pressing_load_is_told_that_nothing_was_done(client: Client) -> None:
    make_version()

    to_the_login = client.post("/try/digits/load/?version=1")
    client.force_login(make_user("grace", "predict", "load"))
    page = client.get("/try/digits/load/?version=1", follow=True)

    assert to_the_login["Location"] == "/login/?next=/try/digits/load/%3Fversion%3D1"
    assert page.redirect_chain == [("/try/digits/?version=1", 302)]
    assert "Nothing was done. Press the button again." in text_of(page)


def test_an_unknown_model_and_an_unknown_version_are_named(asker: Client) -> None:
    make_version()

    missing, missing_version = asker.get("/try/catz/"), asker.get("/try/digits/?version=9")

    assert (missing.status_code, missing_version.status_code) == (404, 404)
    assert "There is no model called catz." in text_of(missing)
    assert "digits has no version 9." in text_of(missing_version)


# ---- the list


def test_the_list_has_a_door_to_each_model(asker: Client) -> None:
    make_version("digits", InstanceState.READY)
    make_version("iris", takes=NUMBERS)

    page = text_of(asker.get("/try/"))

    assert 'href="/try/digits/"' in page and 'href="/try/iris/"' in page
    assert "Loaded" in page and "Unloaded" in page
    assert "8 × 8, grey" in page and "any number × 4, float32" in page


def test_an_empty_list_leads_to_the_wall_only_whom_the_wall_lets_in(client: Client) -> None:
    for name, is_staff in (("grace", True), ("eve", False)):
        client.force_login(make_user(name, "predict", "add", is_staff=is_staff))

        page = text_of(client.get("/try/"))

        assert "There is no model yet" in page
        assert ('<a href="/admin/">Upload one</a>' in page) is is_staff


def test_the_list_leaves_out_a_model_without_a_version(asker: Client) -> None:
    make_version("digits")
    RegisteredModel.objects.create(name="empty")

    page = text_of(asker.get("/try/"))

    assert "empty/" not in page and "1 model." in page


def test_the_list_offers_no_rejected_model_and_still_leads_to_its_reason(asker: Client) -> None:
    make_version("broken", status=FileStatus.REJECTED, signature_json={})

    page = text_of(asker.get("/try/"))

    assert 'href="/try/broken/">broken</a>' in page and "Try broken" not in page


def test_a_search_that_finds_nothing_says_how_many_there_are(asker: Client) -> None:
    make_version("digits")

    page = text_of(asker.get("/try/?search=catz"))

    assert "No model is called “catz”" in page
    assert "Show all 1." in page


def test_the_list_takes_the_same_queries_for_many_models(
    asker: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        make_version(f"model-{number}", InstanceState.QUEUED)

    with django_assert_max_num_queries(10):
        assert asker.get("/try/").status_code == 200


# ---- the form


def test_what_is_not_loaded_can_be_loaded_from_the_page(loader: Client) -> None:
    make_version()
    Node.objects.update_or_create(name=this_node().name, defaults={"last_seen": timezone.now(), "slots": 8})

    page = text_of(loader.get("/try/digits/"))
    response = loader.post("/try/digits/load/", {"version": "1"})

    assert "digits v1 is not loaded" in page
    assert "8 of 8 slots are free; no other model is touched." in page
    assert 'id="ask-button" disabled' in page
    assert response["Location"] == "/try/digits/?version=1"
    assert [i.state for i in Instance.objects.all()] == [InstanceState.QUEUED]


@pytest.mark.parametrize(("state", "is_open"), [(InstanceState.FAILED, False), (InstanceState.LOADING, True)])
def test_nothing_can_be_chosen_that_pressing_load_would_lose(
    loader: Client, state: InstanceState, is_open: bool
) -> None:
    make_version("digits", state)
    make_version("iris", state, takes=NUMBERS)

    fields = [
        re.search(rf"<(?:input|textarea)[^>]* id=\"{field}\"[^>]*>", text_of(loader.get(f"/try/{name}/")))
        for name, field in (("digits", "id_image"), ("iris", "id_instances"))
    ]

    assert [" disabled" not in field[0] for field in fields if field] == [is_open, is_open]


@pytest.mark.parametrize("state", [InstanceState.READY, InstanceState.LOADING, InstanceState.STOPPED])
@pytest.mark.parametrize("wish", [{}, {"size": [8, 8]}])
def test_pictures_of_any_size_are_asked_for_only_when_a_size_is_set(
    loader: Client, state: InstanceState, wish: dict[str, list[int]]
) -> None:
    free = {"name": "image", "dtype": "float32", "shape": [None, None, None, 3]}
    make_version("digits", state, takes=free, preprocessing_json=wish)

    page = text_of(loader.get("/try/digits/"))

    is_open = bool(wish) and state is not InstanceState.STOPPED
    assert ('id="ask-button" disabled' not in page) == is_open
    assert (" data-askable" in page) == is_open
    assert ("You can choose pictures already" in page) == (bool(wish) and state is InstanceState.LOADING)
    assert ("No size is set for its pictures: see “Look at the preprocessing”." in page) == (not wish)
    assert ("<h2>Look at the preprocessing</h2>" in page) or wish


def test_after_a_failed_load_no_time_is_promised(loader: Client) -> None:
    make_version("digits", InstanceState.FAILED, last_load_seconds=1.0)
    Node.objects.update_or_create(name=this_node().name, defaults={"last_seen": timezone.now(), "slots": 8})

    page = text_of(loader.get("/try/digits/"))

    assert "8 of 8 slots are free" in page and "Loading takes" not in page


def test_without_the_right_to_load_the_page_says_whom_to_ask(asker: Client) -> None:
    make_version()

    page = text_of(asker.get("/try/digits/"))

    assert "Ask somebody who may load models." in page
    assert ">Load digits v1<" not in page


def test_a_page_without_a_script_looks_again_while_something_moves(loader: Client) -> None:
    make_version("digits", InstanceState.LOADING)
    refresh = '<noscript><meta http-equiv="refresh" content="2"></noscript>'

    moving, held = loader.get("/try/digits/"), loader.get("/try/digits/?still=1")
    asked = loader.post("/try/digits/", {})

    assert refresh in moving.content.decode()
    assert "Ask when ready" in text_of(moving)
    assert refresh not in held.content.decode()
    assert refresh not in asked.content.decode()


def test_the_newest_loaded_version_is_shown_unless_another_is_chosen(asker: Client) -> None:
    make_version("digits", InstanceState.READY)
    make_version("digits", InstanceState.READY)
    make_version("digits")

    newest, chosen = text_of(asker.get("/try/digits/")), text_of(asker.get("/try/digits/?version=3"))

    assert '<option value="2" selected>2 (newest loaded)</option>' in newest
    assert "/api/models/digits/predict/" in newest
    assert '<option value="3" selected>3 (unloaded)</option>' in chosen
    assert "/api/models/digits/versions/3/predict/" in chosen


def test_a_rejected_version_shows_its_reason(asker: Client) -> None:
    make_version(status=FileStatus.REJECTED, status_detail="The file holds weights only.", signature_json={})

    page = text_of(asker.get("/try/digits/"))

    assert "digits v1 was rejected" in page and "The file holds weights only." in page


def test_a_model_of_numbers_takes_json(asker: Client) -> None:
    make_version("iris", InstanceState.READY, takes=NUMBERS)

    page = text_of(asker.get("/try/iris/"))

    assert ">[[0, 0, 0, 0]]</textarea>" in page
    assert 'type="file"' not in page


def test_the_hint_tells_one_example_input_by_input(asker: Client) -> None:
    photo = {"name": "photo", "dtype": "float32", "shape": [None, 32, 32, 3]}
    facts = {"name": "facts", "dtype": "int32", "shape": [None, 4]}
    make_version("iris", takes=NUMBERS)
    make_version("age", takes={**NUMBERS, "shape": [None]})
    make_version("mixed", signature_json={"inputs": [photo, facts], "outputs": [SCORES]})

    iris, age, mixed = (text_of(asker.get(f"/try/{name}/")) for name in ("iris", "age", "mixed"))

    assert "A list of examples, each a list of 4 values, float32." in iris
    assert "A list of examples, each one value, float32." in age
    each = "photo (a list of 32 × 32 × 3 values, float32), facts (a list of 4 values, int32)"
    assert f"A list of examples, each an object of {each}." in mixed
    assert "></textarea>" in mixed, "too large to be written out"


def test_an_endless_dimension_is_written_in_few_characters() -> None:
    takes = {"name": "x", "dtype": "float32", "shape": [None, 2**31, 2**31]}
    version = make_version("huge", takes=takes)

    codes = snippets(version, "https://portal.example", needs_number=False)

    assert sum(len(snippet.code) for snippet in codes) < 3000


@pytest.mark.parametrize(
    ("text", "sentence"), [("", "Nothing was written."), ("[1, 2", "This is not JSON in line 1, column 6.")]
)
def test_what_is_no_json_is_refused_and_kept(asker: Client, text: str, sentence: str) -> None:
    make_version("iris", InstanceState.READY, takes=NUMBERS)

    response = asker.post("/try/iris/", {"instances": text})

    assert response.status_code == 400
    assert sentence in text_of(response)
    assert not text or f">{text}</textarea>" in text_of(response)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[ ]", "Nothing was written."),
        ('["good",\n"bad"', "This is not JSON in line 2, column 6."),
        ('["good", 1]', "A JSON list holds texts only."),
    ],
)
def test_what_begins_like_a_list_of_texts_has_to_be_one(asker: Client, text: str, sentence: str) -> None:
    make_version("moods", InstanceState.READY, takes={"name": "text", "dtype": "string", "shape": [None, 1]})

    response = asker.post("/try/moods/", {"instances": text})

    assert response.status_code == 400
    assert sentence in text_of(response)


def test_asking_without_a_picture_says_so(asker: Client) -> None:
    make_version("digits", InstanceState.READY)

    response = asker.post("/try/digits/", {})

    assert response.status_code == 400
    assert "No picture was chosen." in text_of(response)


def test_pictures_for_a_model_without_a_size_are_told_what_is_missing(asker: Client) -> None:
    make_version("free", InstanceState.READY, takes={**PICTURES, "shape": [None, None, None, 3]})

    response = asker.post("/try/free/", {"image": SimpleUploadedFile("a.png", b"x")})

    assert response.status_code == 422
    assert "It has to be set in the preprocessing before pictures can be asked about." in text_of(response)


def test_more_pictures_than_a_request_may_hold_are_refused_with_a_sentence() -> None:
    make_version("digits", InstanceState.READY)
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user("ada", "predict"))

    client.get("/try/digits/")
    form = {"csrfmiddlewaretoken": client.cookies["csrftoken"].value}
    response = client.post("/try/digits/", form | {"image": [SimpleUploadedFile(f"{n}.png", b"x") for n in range(66)]})

    assert response.status_code == 413
    assert "at most 64 pictures at once" in text_of(response)


def test_asking_what_is_not_loaded_says_so(asker: Client) -> None:
    make_version()

    response = asker.post("/try/digits/", {"image": SimpleUploadedFile("seven.png", b"x")})

    assert response.status_code == 409
    assert "digits v1 is not loaded. Load it first." in text_of(response)


@pytest.mark.parametrize("fragment", ["state", "head"])
def test_a_fragment_is_one_element_and_is_not_sent_twice(loader: Client, fragment: str) -> None:
    make_version()

    first = loader.get(f"/try/digits/?fragment={fragment}")
    again = loader.get(f"/try/digits/?fragment={fragment}", HTTP_IF_NONE_MATCH=first["ETag"])

    assert f'id="{fragment}"' in first.content.decode() and "<html" not in first.content.decode()
    assert again.status_code == 304


def test_the_choice_of_versions_is_polled_with_the_head(asker: Client) -> None:
    make_version("digits", InstanceState.READY)

    assert "1 (newest loaded)</option>" in text_of(asker.get("/try/digits/?version=1&fragment=head"))


def test_staff_are_led_to_the_keys_and_to_the_call_that_makes_one(client: Client) -> None:
    make_version()
    client.force_login(make_user("ada", "predict", is_staff=True))

    page = text_of(client.get("/try/digits/"))
    operation = client.get("/api/schema/?format=json").json()["paths"]["/api/token/"]["post"]

    assert 'href="/admin/models_app/apikey/add/">Make a key</a>' in page
    assert f'/api/docs/#/{operation["tags"][0]}/{operation["operationId"]}"' in page


# ---- names of strangers


def test_descriptions_and_searches_are_shown_as_text(asker: Client) -> None:
    make_version("digits")
    RegisteredModel.objects.update(description=EVIL)

    pages = asker.get("/try/").content.decode() + asker.get("/try/", {"search": EVIL}).content.decode()

    assert EVIL not in pages
    assert pages.count("&lt;img src=x onerror=alert(1)&gt;") >= 2


def test_no_page_needs_an_inline_script_or_style(loader: Client, client: Client) -> None:
    make_version("digits", InstanceState.LOADING)
    pages = [loader.get("/try/"), loader.get("/try/digits/"), loader.get("/try/nothing/"), Client().get("/login/")]

    for page in pages:
        html = page.content.decode()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))
        assert "script-src 'self'" in page["Content-Security-Policy"]
        assert "no-store" in page["Cache-Control"]


def test_a_name_in_a_file_is_text_in_the_snippets_and_never_code() -> None:
    for name in ('"); evil("', "'); evil('", "a\\", "line\nevil()"):
        takes, gives = {**NUMBERS, "name": name}, {**SCORES, "name": name}
        for spec in (takes, {**PICTURES, "name": name}):
            version = make_version("digits", takes=spec, signature_json={"inputs": [spec], "outputs": [gives]})

            codes = {s.value: s.code for s in snippets(version, "https://portal.example", needs_number=True)}

            for code in (codes["triton"], codes["python"]):
                tree = list(ast.walk(ast.parse(code)))
                assert "evil" not in {node.id for node in tree if isinstance(node, ast.Name)}
            assert [node.value for node in ast.walk(ast.parse(codes["triton"])) if is_text(node)].count(name) == 2


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
