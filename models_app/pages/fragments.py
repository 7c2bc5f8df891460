"""Parts of a page by themselves: live.js polls all that a page shows with one request, `?fragment=head,state`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response


def asked_fragments(request: HttpRequest, templates: Mapping[str, str]) -> list[str]:
    """The templates of the parts that are asked for, by the ids of their elements; none: the whole page is."""
    names = set(request.GET.get("fragment", "").split(","))
    return [template for name, template in templates.items() if name in names]


def fragment_response(request: HttpRequest, templates: Sequence[str], context: Mapping[str, Any]) -> HttpResponse:
    """These parts, one after the other, with an ETag: 304 while their text stays the same."""
    text = "\n".join(render_to_string(template, dict(context), request=request) for template in templates)
    response = HttpResponse(text)
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    response.headers["ETag"] = etag
    found = get_conditional_response(request, etag=etag, response=response)
    return found if isinstance(found, HttpResponse) else response
