"""The query of a request as options, checked as the API server checks them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.api.model import JSON, Request, bare
from kube import errors, status
from kube.client.model import DeleteOptions, JsonObject
from kube.errors import FieldError, InvalidObject

_TRUE = ("true", "1", "t", "T", "TRUE", "True")
_PROPAGATION = ("Background", "Foreground", "Orphan")
_VALIDATION = ("Ignore", "Warn", "Strict")
_MATCHES = ("Exact", "NotOlderThan")
_MANAGER_MAX_BYTES = 128


@dataclass(frozen=True, slots=True)
class Reading:
    """Of a list or watch. `version` is "" (the latest), "0" (any) or a revision."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    version: str = ""
    match: str = ""
    timeout_seconds: int = 0
    bookmarks: bool = False
    initial_events: bool | None = None

    @property
    def revision(self) -> int:
        return int(self.version or "0")

    @property
    def is_exact(self) -> bool:
        """Whether the state of exactly that revision is wanted (legacy: also a version with a limit)."""
        return self.match == "Exact" or (self.limit > 0 and self.revision > 0 and not self.match)


@dataclass(frozen=True, slots=True)
class Writing:
    dry_run: bool = False
    field_validation: str = "Warn"


def reading(request: Request, *, is_watch: bool) -> Reading:
    """BadRequest for what cannot be read, Invalid for options that do not go together."""
    initial = request.one("sendInitialEvents")
    options = Reading(
        label_selector=request.one("labelSelector"),
        field_selector=request.one("fieldSelector"),
        limit=_number(request, "limit"),
        continue_token=request.one("continue"),
        version=request.one("resourceVersion"),
        match=request.one("resourceVersionMatch"),
        timeout_seconds=_number(request, "timeoutSeconds"),
        bookmarks=request.one("allowWatchBookmarks") in _TRUE,
        initial_events=initial in _TRUE if initial else None,
    )
    if options.version and not (options.version.isascii() and options.version.isdecimal()):
        message = f'Invalid value: "{options.version}": strconv.ParseUint: parsing "{options.version}"'
        raise status.bad_request(f"resourceVersion: {message}: invalid syntax")
    wrong = tuple(_wrong_watch(options) if is_watch else _wrong_list(options))
    if wrong:
        invalid = errors.invalid_status(InvalidObject(wrong, "ListOptions"), "meta.k8s.io")
        raise status.error_of(invalid)
    if options.continue_token and options.version not in ("", "0"):
        raise status.bad_request("specifying resource version is not allowed when using continue")
    return options


def _wrong_list(options: Reading) -> list[FieldError]:
    if options.initial_events is not None:
        return [errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")]
    if not options.match:
        return []
    found = []
    path = "resourceVersionMatch"
    if options.continue_token:
        found.append(errors.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
    if not options.version:
        detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        found.append(errors.forbidden(path, detail))
    if options.match not in _MATCHES:
        found.append(errors.not_supported(path, options.match, (*_MATCHES, "")))
    if options.match == "Exact" and options.version == "0":
        detail = 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
        found.append(errors.forbidden(path, detail))
    return found


def _wrong_watch(options: Reading) -> list[FieldError]:
    path = "resourceVersionMatch"
    if options.initial_events is None:
        detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        return [errors.forbidden(path, detail)] if options.match else []
    found = []
    if options.match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        found.append(errors.forbidden(path, detail))
    return found


def writing(request: Request) -> Writing:
    validation = request.one("fieldValidation") or "Warn"
    if validation not in _VALIDATION:
        wrong = errors.not_supported("fieldValidation", validation, (*_VALIDATION, ""))
        raise _invalid("CreateOptions", wrong)
    return Writing(_is_dry(request.query.get("dryRun") or ()), validation)


def manager(request: Request) -> str:
    """Who writes, for managedFields: as the query says, else the first word of the user agent. Invalid for a
    name that is too long or cannot be printed."""
    name = request.one("fieldManager")
    if not name:
        agent = request.headers.get("user-agent", "").partition("/")[0]
        return agent if agent.isprintable() and len(agent) <= _MANAGER_MAX_BYTES else ""
    if len(name.encode()) > _MANAGER_MAX_BYTES:
        raise _invalid("PatchOptions", errors.too_long("fieldManager", _MANAGER_MAX_BYTES))
    if not name.isprintable():
        wrong = errors.invalid("fieldManager", name, "should only contain printable characters")
        raise _invalid("PatchOptions", wrong)
    return name


def forced(request: Request) -> bool:
    """Of an apply. Invalid without a manager, which an apply must name."""
    if not request.one("fieldManager"):
        wrong = errors.required("fieldManager", "is required for apply patch")
        raise _invalid("PatchOptions", wrong)
    return request.one("force") in _TRUE


def not_forced(request: Request) -> None:
    """Of any other patch. Invalid with `force`, which it cannot have."""
    if request.one("force"):
        wrong = errors.forbidden("force", "may not be specified for non-apply patch")
        raise _invalid("PatchOptions", wrong)


def _is_dry(values: object) -> bool:
    listed = [value for value in values if value] if isinstance(values, list | tuple) else []
    for value in listed:
        if value != "All":
            raise _invalid("CreateOptions", errors.not_supported("dryRun", value, ("All",)))
    return bool(listed)


def deletion(request: Request, body: object) -> DeleteOptions:
    """From the body, or the query where there is none. Invalid for a propagation that is none."""
    value = bare(body)
    if not value:
        value = _deletion_query(request)
    grace = value.get("gracePeriodSeconds")
    propagation = value.get("propagationPolicy") or ""
    orphan = value.get("orphanDependents")
    if propagation and orphan is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        raise _invalid("DeleteOptions", errors.invalid("propagationPolicy", propagation, detail))
    if propagation and propagation not in _PROPAGATION:
        wrong = errors.not_supported("propagationPolicy", propagation, (*_PROPAGATION, "nil"))
        raise _invalid("DeleteOptions", wrong)
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    wanted = bare(value.get("preconditions"))
    return DeleteOptions(
        grace_period_seconds=grace if isinstance(grace, int) else None,
        propagation=propagation,
        uid=wanted.get("uid") or "",
        resource_version=wanted.get("resourceVersion") or "",
        dry_run=_is_dry(value.get("dryRun") or ()) or _is_dry(request.query.get("dryRun") or ()),
    )


def _deletion_query(request: Request) -> JsonObject:
    value: JsonObject = {"propagationPolicy": request.one("propagationPolicy")}
    if grace := request.one("gracePeriodSeconds"):
        value["gracePeriodSeconds"] = _number(request, "gracePeriodSeconds") if grace[0] != "-" else -1
    if orphan := request.one("orphanDependents"):
        value["orphanDependents"] = orphan in _TRUE
    return value


def _number(request: Request, name: str) -> int:
    text = request.one(name)
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise status.bad_request(f'{name}: Invalid value: "{text}": strconv.ParseInt: invalid syntax')
    return int(text)


def _invalid(kind: str, wrong: FieldError) -> Exception:
    return status.error_of(errors.invalid_status(InvalidObject((wrong,), kind), "meta.k8s.io"))


def content_type(request: Request) -> str:
    return request.headers.get("content-type", JSON)
