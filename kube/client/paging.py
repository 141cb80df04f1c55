"""All of a collection, page by page, so that neither side has to hold it in one answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from kube import status
from kube.client.model import DEFAULT_LIST, Client, ListOptions, ObjectList
from kube.client.resources import Resource

# client-go's pager.defaultPageSize
PAGE_SIZE = 500


async def pages(
    client: Client, resource: Resource, *, namespace: str = "", options: ListOptions = DEFAULT_LIST
) -> AsyncGenerator[ObjectList, None]:
    """Every page, of one revision. Expired when a page took so long that the revision is gone: start anew."""
    options = options if options.limit else replace(options, limit=PAGE_SIZE)
    while True:
        page = await client.list(resource, namespace=namespace, options=options)
        yield page
        if not page.continue_token:
            return
        options = replace(
            options, continue_token=page.continue_token, resource_version="", resource_version_match=""
        )


async def list_all(
    client: Client, resource: Resource, *, namespace: str = "", options: ListOptions = DEFAULT_LIST
) -> ObjectList:
    """All pages as one. When the revision expires on the way, once more in a single answer."""
    items: list[bytes] = []
    version = ""
    try:
        async for page in pages(client, resource, namespace=namespace, options=options):
            items += page.items
            version = page.resource_version
    except status.Expired:
        if not items:
            raise
        return await client.list(resource, namespace=namespace, options=replace(options, limit=0))
    return ObjectList(tuple(items), version)
