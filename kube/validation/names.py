"""What names, labels and keys may look like, in the words of k8s.io/apimachinery/pkg/util/validation.

The functions return what is wrong as texts, none when the value is good; callers add the field's path.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping

from kube import errors
from kube.errors import FieldError

Check = Callable[[str], list[str]]

DNS_LABEL_MAX = 63
DNS_SUBDOMAIN_MAX = 253
LABEL_VALUE_MAX = 63
QUALIFIED_NAME_MAX = 63
CONFIG_KEY_MAX = 253
PORT_NAME_MAX = 15

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SUBDOMAIN_UNDERSCORE = r"[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?(\.[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?)*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HTTP_HEADER = "[-A-Za-z0-9]+"

_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
_QUALIFIED_EXAMPLES = ("MyName", "my.name", "123-abc")


def pattern_text(message: str, pattern: str, *examples: str) -> str:
    """How upstream says that a pattern does not match, examples first (two blanks before `or` included)."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} ({'e.g. ' if shown else ''}{shown}regex used for validation is '{pattern}')"


def at_most(length: int) -> str:
    return f"must be no more than {length} bytes"


def between(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def _check(pattern: str, text: str, *examples: str, length: int) -> Check:
    compiled = re.compile(pattern, re.ASCII)
    message = pattern_text(text, pattern, *examples)

    def check(value: str) -> list[str]:
        wrong = [at_most(length)] if len(value.encode()) > length else []
        # Long values are not matched: they are wrong already, and matching takes time.
        fits = len(value) > length * 4 or compiled.fullmatch(value) is not None
        return wrong if fits else [*wrong, message]

    return check


dns_label = _check(
    _LABEL,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character",
    "my-name",
    "123-abc",
    length=DNS_LABEL_MAX,
)
dns_subdomain = _check(
    _SUBDOMAIN,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start and end with an alphanumeric character",
    "example.com",
    length=DNS_SUBDOMAIN_MAX,
)
dns_subdomain_underscore = _check(
    _SUBDOMAIN_UNDERSCORE,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character or an underscore",
    "example.com",
    length=DNS_SUBDOMAIN_MAX,
)
label_value = _check(
    _LABEL_VALUE,
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
    "must start and end with an alphanumeric character",
    "MyValue",
    "my_value",
    "12345",
    length=LABEL_VALUE_MAX,
)
_config_key = _check(
    _CONFIG_KEY,
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    "key.name",
    "KEY_NAME",
    "key-name",
    length=CONFIG_KEY_MAX,
)
_qualified_part = re.compile(_QUALIFIED, re.ASCII)
_header = re.compile(_HTTP_HEADER, re.ASCII)


def qualified_name(value: str) -> list[str]:
    """`name` or `dns.prefix/name`: keys of labels, annotations, resources, taints."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        whole = pattern_text(f"a qualified name {_QUALIFIED_TEXT}", _QUALIFIED, *_QUALIFIED_EXAMPLES)
        return [f"{whole} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    wrong: list[str] = []
    if slash:
        problems = dns_subdomain(prefix) if prefix else ["must be non-empty"]
        wrong += [f"prefix part {problem}" for problem in problems]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name.encode()) > QUALIFIED_NAME_MAX:
        wrong.append(f"name part {at_most(QUALIFIED_NAME_MAX)}")
    if not _qualified_part.fullmatch(name[: QUALIFIED_NAME_MAX * 4]):
        wrong.append(pattern_text(f"name part {_QUALIFIED_TEXT}", _QUALIFIED, *_QUALIFIED_EXAMPLES))
    return wrong


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret, which becomes a file name."""
    wrong = _config_key(value)
    if value == ".":
        wrong.append("must not be '.'")
    elif value == "..":
        wrong.append("must not be '..'")
    elif value.startswith(".."):
        wrong.append("must not start with '..'")
    return wrong


def env_name(value: str) -> list[str]:
    if not value:
        return ["environment variable name must be non-empty"]
    if all(" " <= char <= "~" and char != "=" for char in value):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


def port_name(value: str) -> list[str]:
    """An IANA service name (RFC 6335)."""
    wrong = []
    if len(value) > PORT_NAME_MAX:
        wrong.append(f"must be no more than {PORT_NAME_MAX} characters")
    if not re.fullmatch("[-a-z0-9]+", value, re.ASCII):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value, re.ASCII):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in value:
        wrong.append("must not contain consecutive hyphens")
    if value and "-" in (value[0], value[-1]):
        wrong.append("must not begin or end with a hyphen")
    return wrong


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else [between(1, 65535)]


def ip_address(value: str) -> list[str]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def http_header(value: str) -> list[str]:
    if _header.fullmatch(value):
        return []
    return [
        pattern_text(
            "a valid HTTP header must consist of alphanumeric characters or '-'",
            _HTTP_HEADER,
            "X-Header-Name",
        )
    ]


def each(path: str, value: str, check: Check) -> Iterator[FieldError]:
    """What `check` finds wrong, as errors of the field."""
    for message in check(value):
        yield errors.invalid(path, value, message)


def required_name(path: str, value: str | None, check: Check) -> Iterator[FieldError]:
    if value:
        yield from each(path, value, check)
    else:
        yield errors.required(path)


def optional_name(path: str, value: str | None, check: Check) -> Iterator[FieldError]:
    if value:
        yield from each(path, value, check)


def one_of(path: str, value: str | None, supported: tuple[str, ...]) -> Iterator[FieldError]:
    if value not in supported:
        yield errors.not_supported(path, value or "", supported)


def labels(path: str, value: Mapping[str, str]) -> Iterator[FieldError]:
    for key, text in value.items():
        yield from each(path, key, qualified_name)
        yield from each(path, text, label_value)
