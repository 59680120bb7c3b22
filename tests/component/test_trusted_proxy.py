"""Behind a proxy that has logged in its users: it alone is answered, below any path and in its frame."""

import html
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
from helpers.ingress import ingress
from helpers.support import Start

from ccl_exporter.simulator import Simulator

PROXY = "127.0.0.2"
HISTORY = re.compile("No session has been recorded yet|Last sessions")


def get(url: str) -> tuple[int, str, str]:
    """Status, content security policy and body."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.headers.get("Content-Security-Policy", ""), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", error.read().decode()


@pytest.fixture
def port(start: Start) -> Iterator[int]:
    with Simulator(autopilot=False) as charger:
        command = start(
            *("serve", charger.url, "--web.listen-address", "127.0.0.1:0", "--web.trusted-proxy", PROXY)
        )
        yield int(command.line(r"http://127\.0\.0\.1:(\d+)/metrics")[1])


def test_all_links_of_the_page_work_below_the_path_of_the_proxy(port: int) -> None:
    with ingress(port, PROXY) as root:
        seen, left = set(), [root]
        while left:
            url = left.pop().partition("#")[0]
            if url in seen:
                continue
            seen.add(url)
            status, policy, body = get(url)
            assert status == 200, url
            if policy:
                assert "frame-ancestors 'self'" in policy
                left += [urljoin(url, html.unescape(link)) for link in re.findall(r'href="([^"]+)"', body)]

    ours = {url for url in seen if url.startswith(root)}
    assert {url.removeprefix(root).partition("/")[0] for url in ours} >= {"", "metrics", "config", "sd", "charger"}
    assert all(not url.startswith("http://127.0.0.1") for url in seen - ours)


def test_no_other_peer_is_answered_and_its_users_see_the_history(port: int) -> None:
    with ingress(port, PROXY) as root:
        assert HISTORY.search(get(root)[2])
    with ingress(port, "127.0.0.3") as root:
        assert get(root)[0] == 403
    for path in ("/", "/metrics", "/-/healthy"):
        assert get(f"http://127.0.0.1:{port}{path}")[0] == 403


def test_a_proxy_is_an_address(start: Start) -> None:
    wrong = start("serve", "http://127.0.0.1:1", "--web.trusted-proxy", "evse.example")

    assert wrong.process.wait(60) == 2
