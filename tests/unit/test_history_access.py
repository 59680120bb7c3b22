"""Who may see when a charger is used."""

import pytest

from ccl_exporter.exporter.web.history_access import LOGGED_IN, may_see_history


@pytest.mark.parametrize(
    ("environ", "allowed"),
    [
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:9986"}, True, id="this machine"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:9986"}, True, id="by its name"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "LOCALHOST"}, True, id="without a port"),
        pytest.param({"REMOTE_ADDR": "::1", "HTTP_HOST": "[::1]:9986"}, True, id="IPv6"),
        pytest.param({"REMOTE_ADDR": "::ffff:127.0.0.1", "HTTP_HOST": "[::1]"}, True, id="mapped"),
        pytest.param({"REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "evse:9986"}, False, id="the network"),
        pytest.param({"REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "localhost:9986"}, False, id="a made-up host"),
        pytest.param({"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "evil.example:9986"}, False, id="rebinding"),
        pytest.param(
            {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost.evil.example"}, False, id="a longer name"
        ),
        pytest.param({"REMOTE_ADDR": "127.0.0.1"}, False, id="no host"),
        pytest.param({}, False, id="nothing is known"),
        pytest.param(
            {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "HTTP_X_FORWARDED_FOR": "192.0.2.7"},
            False,
            id="a proxy",
        ),
        pytest.param({"REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "evse", LOGGED_IN: True}, True, id="a login"),
        pytest.param({"REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "evse", LOGGED_IN: "yes"}, False, id="no login"),
    ],
)
def test_history_is_for_this_machine_and_for_who_has_logged_in(environ: dict[str, object], allowed: bool) -> None:
    assert may_see_history(environ) is allowed
