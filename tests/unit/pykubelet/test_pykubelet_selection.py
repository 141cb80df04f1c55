"""Which pod, container or image is meant."""

from __future__ import annotations

from argparse import Namespace

import pytest

from cri.enums import ContainerState, PodSandboxState
from cri.types import Container, ContainerMetadata, Image, PodSandbox, PodSandboxMetadata
from pykubelet.errors import CommandError
from pykubelet.runtime.listing import choose_containers, container_rows, image_rows
from pykubelet.runtime.logs import make_options
from pykubelet.runtime.selection import Seen, earlier_run, find_container, find_image, find_sandbox

pytestmark = pytest.mark.pure

EXITED, RUNNING = ContainerState.CONTAINER_EXITED, ContainerState.CONTAINER_RUNNING
SECOND = 1_000_000_000


def box(id: str, name: str, *, namespace: str = "default", at: int = 1, ready: bool = True) -> PodSandbox:
    state = PodSandboxState.SANDBOX_READY if ready else PodSandboxState.SANDBOX_NOTREADY
    meta = PodSandboxMetadata(name=name, uid=f"uid-{namespace}-{name}", namespace=namespace)
    return PodSandbox(id=id, metadata=meta, state=state, created_at=at * SECOND)


def container(
    id: str, sandbox: str, name: str, *, attempt: int = 0, state: ContainerState = RUNNING, at: int = 1
) -> Container:
    meta = ContainerMetadata(name=name, attempt=attempt)
    return Container(id=id, pod_sandbox_id=sandbox, metadata=meta, state=state, created_at=at * SECOND)


SEEN = Seen(
    sandboxes=(
        box("aa11", "web-node1"),
        box("ab22", "pair"),
        box("ac33", "web", namespace="other"),
        box("ad44", "cafe"),
        box("cafe99", "sidecar"),
    ),
    containers=(
        container("c1aa", "aa11", "server", attempt=0, state=EXITED, at=1),
        container("c1bb", "aa11", "server", attempt=1, at=2),
        container("c2aa", "ab22", "reader", at=1),
        container("c2bb", "ab22", "writer", at=2),
        container("c4aa", "ad44", "job", state=EXITED),
        container("c5aa", "cafe99", "only"),
    ),
    node="node1",
)


def id_of(reference: str, name: str | None = None) -> str:
    found = find_container(SEEN, reference, name)
    assert found is not None
    return found.id


def test_static_pod_is_found_without_the_name_of_its_node() -> None:
    found = find_sandbox(SEEN, "default/web")
    assert found is not None
    assert found.id == "aa11"


def test_full_name_comes_before_the_one_on_this_node() -> None:
    found = find_sandbox(SEEN, "web")
    assert found is not None
    assert found.metadata.namespace == "other"


def test_pod_named_like_the_beginning_of_an_id_is_the_pod() -> None:
    found = find_sandbox(SEEN, "cafe")
    assert found is not None
    assert found.id == "ad44"


def test_newest_ready_sandbox_of_a_pod_is_meant() -> None:
    seen = Seen((box("1", "a", at=1), box("2", "a", at=3, ready=False), box("3", "a", at=2)), ())
    found = find_sandbox(seen, "a")
    assert found is not None
    assert found.id == "3"


def test_same_name_in_two_namespaces_is_refused_with_both() -> None:
    seen = Seen((box("1", "a"), box("2", "a", namespace="b")), ())
    with pytest.raises(CommandError, match="b/a, default/a"):
        find_sandbox(seen, "a")


@pytest.mark.parametrize(
    ("reference", "name", "id"),
    [
        ("c1bb", None, "c1bb"),
        ("c1aa", None, "c1aa"),
        ("c2a", None, "c2aa"),
        ("default/web", None, "c1bb"),
        ("default/web/server", None, "c1bb"),
        ("pair/writer", None, "c2bb"),
        ("pair", "reader", "c2aa"),
        ("default/pair/reader", None, "c2aa"),
        ("writer", None, "c2bb"),
        ("aa1", None, "c1bb"),
        ("cafe", None, "c4aa"),
    ],
)
def test_container_is_found_by(reference: str, name: str | None, id: str) -> None:
    assert id_of(reference, name) == id


def test_choice_among_several_is_left_to_the_user() -> None:
    with pytest.raises(CommandError, match="because it has reader, writer; name one with -c"):
        find_container(SEEN, "pair")


def test_annotated_default_container_is_taken() -> None:
    pod = PodSandbox(
        id="ab22",
        metadata=SEEN.sandboxes[1].metadata,
        annotations={"kubectl.kubernetes.io/default-container": "writer"},
    )
    found = find_container(Seen((pod,), SEEN.containers), "pair")
    assert found is not None
    assert found.id == "c2bb"


def test_unknown_container_of_a_known_pod_names_those_it_has() -> None:
    with pytest.raises(CommandError, match=r'"nope".*has only reader, writer'):
        find_container(SEEN, "pair", "nope")


def test_what_is_nowhere_is_none_and_two_that_fit_are_refused() -> None:
    assert find_container(SEEN, "nothing") is None
    assert find_container(SEEN, "c") is None
    with pytest.raises(CommandError, match="c1aa, c1bb"):
        find_container(SEEN, "c1")


def test_earlier_run_is_the_last_attempt_before() -> None:
    newest = SEEN.containers[1]
    earlier = earlier_run(SEEN, newest)
    assert earlier is not None
    assert earlier.id == "c1aa"
    assert earlier_run(SEEN, earlier) is None


def test_ps_shows_running_ones_newest_first_unless_asked_for_all() -> None:
    shown = choose_containers(SEEN, pod=None, is_all=False)
    assert [one.id for one in shown] == ["c1bb", "c2bb", "c2aa", "c5aa"]
    assert len(choose_containers(SEEN, pod=None, is_all=True)) == 6
    rows = container_rows(SEEN, shown[:1], {"": "busybox"}, 10.0)
    assert rows == [("c1bb", "busybox", "8s", "Running", "server", "1", "web-node1")]
    with pytest.raises(CommandError, match="no such pod"):
        choose_containers(SEEN, pod="none", is_all=False)


IMAGES = (
    Image(id="sha256:aabb", repo_tags=("docker.io/library/busybox:1.35", "localhost/x:1"), size=2_000_000),
    Image(id="sha256:aacc", repo_digests=("quay.io/a/b@sha256:00",), pinned=True),
)


def test_image_is_found_by_short_name_digest_and_id() -> None:
    for reference in ("busybox:1.35", "localhost/x:1", "sha256:aabb", "aabb", "aab"):
        found = find_image(IMAGES, reference)
        assert found is not None, reference
        assert found.id == "sha256:aabb"
    assert find_image(IMAGES, "busybox") is None
    with pytest.raises(CommandError, match="aabb, aacc"):
        find_image(IMAGES, "aa")


def test_images_have_a_row_per_tag() -> None:
    assert [row[:2] for row in image_rows(IMAGES)] == [
        ("docker.io/library/busybox", "1.35"),
        ("localhost/x", "1"),
        ("quay.io/a/b", "<none>"),
    ]


def options_of(**given: object) -> Namespace:
    usual = {"since": None, "tail": None, "timestamps": False, "follow": False, "previous": False}
    return Namespace(**usual | given)


def test_log_options_count_back_from_now() -> None:
    options = make_options(options_of(since="5m", tail=3, follow=True), 1000.0)
    assert options.since_ns == 700 * SECOND
    assert (options.tail_lines, options.follow) == (3, True)


def test_impossible_log_options_are_refused() -> None:
    with pytest.raises(CommandError, match="not a duration"):
        make_options(options_of(since="soon"), 0.0)
    with pytest.raises(CommandError, match="less than none"):
        make_options(options_of(tail=-1), 0.0)
