"""The dialects of the simulator that let an exporter read, and the login that some of them ask for."""

from ccl_exporter.settings import Credentials
from ccl_exporter.simulator import DIALECTS

LOGIN = Credentials("owner", "pass:word")

REFUSING = {"not-granted-200": "it refuses without asking for a login"}
ANSWERING = tuple(sorted(DIALECTS.keys() - REFUSING.keys()))
