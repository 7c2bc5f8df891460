from __future__ import annotations

import re
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode

from models_app.admin import engine_views, version_actions, version_form, version_views
from models_app.admin import version_columns as columns
from models_app.choices import OWNED
from models_app.models import Instance, ModelVersion, Node
from models_app.pages.fragments import fragment_response
from models_app.pages.groups import GROUP_WORDS, group_counts, in_group
from models_app.pages.version_row import version_row
from models_app.pages.wall import first_node, silence_banner, slots_line
from models_app.rights import LOAD, PREDICT, UNLOAD, Rights
from models_app.services import find
from models_app.services.places import queue_places

_PRINTED = re.compile(r"(?P<name>.*\S)\s+v(?P<number>\d{1,9})")
"""A version as every page prints it."""


class GroupFilter(admin.SimpleListFilter):
    """`?state=`: the chips on top of the list."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, word) for name, word in GROUP_WORDS.items() if name]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ModelVersion]) -> QuerySet[ModelVersion]:
        return in_group(queryset, self.value() or "") if self.value() in GROUP_WORDS else queryset


class VersionChangeList(ChangeList):
    """Gives each row of the page what its cells print; the number of queries does not grow with the rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rights, places, now = Rights.of(request.user), queue_places(), timezone.now()
        self.result_list = list(self.result_list)
        for version in self.result_list:
            version.row = version_row(version, rights, places=places, now=now)


class ModelVersionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The list of versions, and the addresses of each: show, load, unload, delete, trust, log, file."""

    list_display = [
        columns.model_name,
        columns.state,
        columns.engine,
        columns.memory,
        columns.requests,
        columns.row_buttons,
    ]
    list_filter = [GroupFilter]
    list_per_page = 50
    search_fields = ["model__name"]
    actions = [
        version_actions.load_selected,
        version_actions.unload_selected,
        version_actions.ask_selected,
        version_actions.delete_selected,
    ]

    # ---- permissions of the verbs; Django's own cover view, add, change and delete

    def has_load_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(LOAD)

    def has_unload_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(UNLOAD)

    def has_predict_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PREDICT)

    # ---- the list

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ModelVersion], search_term: str
    ) -> tuple[QuerySet[ModelVersion], bool]:
        """A part of a name, or a version as it is printed: `digits v2`."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        if printed := _PRINTED.fullmatch(search_term.strip()):
            of_name, _ = super().get_search_results(request, queryset, printed["name"])
            found |= of_name.filter(number=int(printed["number"]))
        return found, may_repeat

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        return find.versions()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return VersionChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.GET.get("fragment") == "rows":
            return self._rows_fragment(request)
        if request.method == "POST" and "index" in request.POST and ACTION_CHECKBOX_NAME not in request.POST:
            messages.warning(request, "Tick one or more models first.")
            return HttpResponseRedirect(request.get_full_path())
        state, search = request.GET.get("state", ""), request.GET.get("q", "")
        node = first_node()
        figures, can_add = self._figures(request, node), self.has_add_permission(request)
        context = {
            "title": "Models",
            **figures,
            "banner": silence_banner(node, timezone.now()),
            "nothing_found": _nothing_found(state, search, figures["chips"][0]["count"], can_add),
            "fragment_url": _rows_address(request),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def _rows_fragment(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        query = request.GET.copy()
        del query["fragment"]
        request.GET = query  # type: ignore[assignment]
        try:
            rows = self.get_changelist_instance(request)
        except IncorrectLookupParameters:  # a page that no longer exists, because rows were deleted
            raise Http404 from None
        rows.formset = None
        context = {"cl": rows, "opts": self.opts, **self._figures(request, first_node())}
        return fragment_response(request, ["portal/_rows.html"], context)

    def _figures(self, request: HttpRequest, node: Node) -> dict[str, Any]:
        """What stands above the table: the chips, which count what the search finds, and how many slots are free."""
        state, search = request.GET.get("state", ""), request.GET.get("q", "")
        found, _ = self.get_search_results(request, ModelVersion.objects.all(), search)
        counts, held = group_counts(found), Instance.objects.filter(state__in=OWNED).count()
        chips = [
            {"word": word, "count": counts[name], "href": _query(name, search), "is_on": name == state}
            for name, word in GROUP_WORDS.items()
        ]
        return {"chips": chips, "slots_line": slots_line(node, held, len(queue_places()))}

    # ---- one version

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return version_form.add_view(self, request)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return version_views.change_view(self, request, object_id)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return version_views.delete_view(self, request, object_id)

    def get_urls(self) -> list[URLPattern]:
        def own(view: Any) -> Any:
            def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                response: HttpResponseBase = view(self, request, *args, **kwargs)
                return response

            return self.admin_site.admin_view(wrapped)

        one = [
            path(f"<path:object_id>/{name}/", own(view), name=f"models_app_modelversion_{name}")
            for name, view in {**version_views.VIEWS, **engine_views.VIEWS}.items()
        ]
        jump = path("open/<slug:name>/<int:number>/", own(version_views.open_view), name="models_app_modelversion_open")
        return [jump, *one, *super().get_urls()]


def _rows_address(request: HttpRequest) -> str:
    """The same list, page and filter as a fragment."""
    query = request.GET.copy()
    query["fragment"] = "rows"
    return f"?{query.urlencode()}"


def _query(state: str, search: str) -> str:
    given = {key: value for key, value in (("state", state), ("q", search)) if value}
    return f"?{urlencode(given)}"


def _nothing_found(state: str, search: str, count: int, can_add: bool) -> dict[str, str]:
    """What an empty list says, and the link that helps, if there is one for this reader."""
    everything = reverse("admin:models_app_modelversion_changelist")
    if search:
        if state and state in GROUP_WORDS:
            text = f"Under “{GROUP_WORDS[state]}” there is no model called “{search}”."
            return {"text": text, "word": "Look among all.", "href": f"{everything}{_query('', search)}"}
        return {"text": f"No model is called “{search}”.", "word": "Show all.", "href": everything}
    texts = {
        "attention": "Nothing failed and nothing was rejected.",
        "moving": "Nothing is on the way.",
        "loaded": "Nothing is loaded.",
        "unloaded": "Everything is loaded or on the way.",
    }
    if count:
        return {"text": texts.get(state, ""), "word": f"Show all {count}.", "href": everything}
    word = "Upload one." if can_add else ""
    return {"text": "There is no model yet.", "word": word, "href": reverse("admin:models_app_modelversion_add")}
