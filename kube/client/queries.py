"""Options of calls to the query parameters of their requests (pure)."""

from __future__ import annotations

from dataclasses import replace

from kube.client.model import ListOptions, WatchOptions, WriteOptions

Query = tuple[tuple[str, str], ...]


def list_query(options: ListOptions) -> Query:
    return _given(
        ("labelSelector", options.label_selector),
        ("fieldSelector", options.field_selector),
        ("limit", str(options.limit) if options.limit else ""),
        ("continue", options.continue_token),
        ("resourceVersion", options.resource_version),
        ("resourceVersionMatch", options.resource_version_match),
    )


def watch_query(options: WatchOptions) -> Query:
    version = options.resource_version
    if options.initial_events:
        options = replace(options, bookmarks=True)
    return _given(
        ("watch", "true"),
        ("labelSelector", options.label_selector),
        ("fieldSelector", options.field_selector),
        ("resourceVersion", version),
        ("allowWatchBookmarks", "true" if options.bookmarks else ""),
        ("sendInitialEvents", "true" if options.initial_events else ""),
        ("resourceVersionMatch", "NotOlderThan" if options.initial_events else ""),
        ("timeoutSeconds", str(options.timeout_seconds) if options.timeout_seconds else ""),
    )


def write_query(options: WriteOptions) -> Query:
    return _given(
        ("dryRun", "All" if options.dry_run else ""),
        ("fieldManager", options.field_manager),
        ("fieldValidation", options.field_validation),
        ("force", "true" if options.force else ""),
    )


def _given(*pairs: tuple[str, str]) -> Query:
    return tuple(pair for pair in pairs if pair[1])
