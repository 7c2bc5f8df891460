"""The try pages: the list of models and the test form. Complete without JavaScript; `?fragment=` answers parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views import View
from django.views.decorators.http import conditional_page

from inference.errors import NotFound, NotLoaded, PermissionRefused, PortalError, TooLarge, ValidationFailed
from inference.runner.config import MOST_PICTURES
from models_app.api.picture_forms import uploaded_pictures
from models_app.choices import VersionState
from models_app.models import Instance, ModelVersion
from models_app.pages.failure import failure_page
from models_app.pages.fragments import asked_fragments, fragment_response
from models_app.pages.scaling_hint import lacks_size, scaling_hint
from models_app.pages.version_row import version_row
from models_app.pages.wall import SAMPLE_NAME
from models_app.pages.words import NOTHING_DONE
from models_app.rights import LOAD, PREDICT, Rights
from models_app.services import find
from models_app.services.load import load, wait_until_loaded
from models_app.services.predict import Picture
from models_app.tryit import page
from models_app.tryit.answers import Answer, Answered, answer_pictures, answer_tensors, answer_texts
from models_app.tryit.inputs import example_rows, example_words, input_words, is_small, takes_pictures, takes_texts
from models_app.tryit.snippets import snippets

ASK_WHEN_READY_S = 60.0
MOST_TEXTS = MOST_PICTURES
_NOTHING = "Nothing was written. Write an example, then ask again."
_LIST_OF_TEXTS = re.compile(r'\s*\[\s*("|\]\s*\Z)')
"""How a JSON list of texts begins: `[sic]` and `[1]` are plain texts."""
_FRAME = {"nav_here": "try", "has_permission": True, "is_nav_sidebar_enabled": False}
"""The context of the admin's base template: the user tools, without any admin rights."""
NO_RIGHT = "Your account may not ask models. Ask an administrator for the right “Can ask models”."


class TryPage(View):
    """Only for those who may ask: others are sent to the login page, or told that they lack the right."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        try:
            if not request.user.has_perm(PREDICT):
                raise PermissionRefused(NO_RIGHT)
            return super().dispatch(request, *args, **kwargs)
        except PortalError as error:
            return failure_page(request, error)


@method_decorator(conditional_page, name="dispatch")
class ListView(TryPage):
    """`?search=` is part of a name; `?fragment=rows` answers the table alone."""

    def get(self, request: HttpRequest) -> HttpResponse:
        search = request.GET.get("search", "").strip()[:100]
        rows, count = page.list_rows(request.user, search)
        context = {"rows": rows, "count": count, "search": search, "title": "Try a model", **_FRAME}
        if fragments := asked_fragments(request, {"rows": "try/_rows.html"}):
            return fragment_response(request, fragments, context)
        return render(request, "try/list.html", context)


@method_decorator(conditional_page, name="dispatch")
class DetailView(TryPage):
    """`?version=` chooses one; `?fragment=head,state` answers these parts; `?still=1` turns refreshing off."""

    def get(self, request: HttpRequest, name: str) -> HttpResponse:
        version, versions = page.find_versions(name, _number(request))
        context = _context(request, version, versions)
        if fragments := asked_fragments(request, {"head": "try/_head.html", "state": "try/_state.html"}):
            return fragment_response(request, fragments, context)
        return render(request, "try/detail.html", context)

    def post(self, request: HttpRequest, name: str) -> HttpResponse:
        version, versions = page.find_versions(name, _number(request))
        status, text = 200, request.POST.get("instances", "")
        try:
            answered = _ask(request, version, text)
        except PortalError as error:
            status, answered = error.status, Answered(str(version), [Answer(str(version), error=error.message)])
        version, versions = page.find_versions(name, version.number)  # its state may have changed meanwhile
        context = _context(request, version, versions) | {"answered": answered, "instances": text}
        fragment = "try/_answers.html" if request.GET.get("fragment") == "answers" else "try/detail.html"
        return render(request, fragment, context, status=status)


class LoadView(TryPage):
    """Starts a load and goes back to the try page. After a log-in on the way the button has to be pressed again."""

    def get(self, request: HttpRequest, name: str) -> HttpResponse:
        if not messages.get_messages(request):  # else the log-in has said it: portal/lost_forms.py
            messages.warning(request, NOTHING_DONE)
        return _to_version(name, _number(request))

    def post(self, request: HttpRequest, name: str) -> HttpResponse:
        if not request.user.has_perm(LOAD):
            raise PermissionRefused("Your account may not load models. Ask somebody who may.")
        version, _ = page.find_versions(name, _number(request))
        try:
            load(version, by=request.user)
        except PortalError as error:
            messages.error(request, error.message)
        return _to_version(name, version.number)


def _to_version(name: str, number: int | None) -> HttpResponse:
    query = f"?{urlencode({'version': number})}" if number is not None else ""
    return HttpResponseRedirect(f"{reverse('try', args=[name])}{query}")


def _ask(request: HttpRequest, version: ModelVersion, text: str) -> Answered:
    answer: Callable[[ModelVersion, Sequence[Instance]], Answered]
    if takes_pictures(version):
        answer = partial(answer_pictures, pictures=_pictures(request))
    elif takes_texts(version):
        answer = partial(answer_texts, lines=_lines(text))
    else:
        answer = partial(answer_tensors, body=_tensors(text))
    if version.state in page.ON_THE_WAY:
        version = wait_until_loaded(version, ASK_WHEN_READY_S)
        if version.state is not VersionState.LOADED:
            raise NotLoaded(f"{version} is still not loaded after {ASK_WHEN_READY_S:.0f} s. Ask again in a while.")
    return answer(*find.loaded_version(version.model.name, version.number))


def _pictures(request: HttpRequest) -> list[Picture]:
    files = request.FILES.getlist("image")
    if not files:
        raise ValidationFailed.of("image", "No picture was chosen. Choose one or more, then ask again.")
    return uploaded_pictures(files)


def _lines(text: str) -> list[str]:
    """The text area of a model of texts: one a line, or all of it a JSON list, which may hold nothing else."""
    if _LIST_OF_TEXTS.match(text):
        lines: list[str] = _json(text)
        if not all(isinstance(line, str) for line in lines):
            raise ValidationFailed.of("instances", "A JSON list holds texts only. Correct it, then ask again.")
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValidationFailed.of("instances", _NOTHING)
    if len(lines) > MOST_TEXTS:
        raise TooLarge(f"These are {len(lines):,} texts. Ask with at most {MOST_TEXTS} at once.")
    return lines


def _tensors(text: str) -> dict[str, Any]:
    """The text area: a list of examples, or an object with `instances` or `inputs` as the REST call takes it."""
    if not text.strip():
        raise ValidationFailed.of("instances", _NOTHING)
    value = _json(text)
    if isinstance(value, dict) and len({"instances", "inputs"} & set(value)) == 1:
        return value
    return {"instances": value}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValidationFailed.of("instances", f"This is not JSON{where}. Correct it, then ask again.") from None


def _context(request: HttpRequest, version: ModelVersion, versions: list[ModelVersion]) -> dict[str, Any]:
    row = version_row(version, Rights.of(request.user))
    is_preferred = page.preferred(versions) is version
    return {
        "v": row,
        "choices": page.version_choices(versions, version),
        "panel": page.panel(version, row),
        "lacks_size": lacks_size(version),
        "is_askable": (row.state == VersionState.LOADED or row.is_on_the_way) and not lacks_size(version),
        "ask_word": "Ask when ready" if row.is_on_the_way else f"Ask {row.model}",
        "is_refreshing": row.is_moving and request.method == "GET" and "still" not in request.GET,
        "takes_pictures": takes_pictures(version),
        "takes_texts": takes_texts(version),
        "is_sample": version.model.name == SAMPLE_NAME,
        "scaling": scaling_hint(version),
        "input_words": input_words(version),
        "example_words": example_words(version),
        "example": _example(version),
        "snippets": snippets(version, f"{request.scheme}://{request.get_host()}", needs_number=not is_preferred),
        "title": f"Try {row.model}",
        **_FRAME,
    }


def _example(version: ModelVersion) -> str:
    if takes_texts(version):
        return "a text"
    return json.dumps(example_rows(version)) if is_small(version) else ""


def _number(request: HttpRequest) -> int | None:
    """`?version=`, or a form's field of that name; None where neither says one."""
    text = request.GET.get("version") or request.POST.get("version") or ""
    if text and not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise NotFound("A version is a whole number. Choose one in the list.")
    return int(text) if text else None
