"""Makes a state folder that ccl-exporter 0.2 has used fit for 0.1: python3 back-to-0.1.py /var/lib/ccl-exporter.

As root, while nothing of ccl-exporter runs. The session log of 0.1 that was kept at the upgrade gets the sessions
and the register accounts of 0.2 and takes the place of the log, which stays as charges.db.0.2.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

ADD = """
REPLACE INTO finished SELECT id, charger, plug, key, noted, requested, begun, ended, joules,
    coalesce(seconds, 0), stop_reason, highest_watts FROM newer.finished;
REPLACE INTO accounts SELECT charger, plug, era, began, first, latest, at, clock, charged,
    json_extract(recorded, '$[#-1].key'), json_extract(recorded, '$[#-1].joules'),
    json_extract(running, '$.key'), json_extract(running, '$.joules'), json_extract(running, '$.before'),
    json_extract(running, '$.highest_watts') FROM newer.accounts;
"""

log = Path(sys.argv[1]) / "charges.db"
kept = log.with_name("charges.db.0.1")
if not kept.exists():
    sys.exit(f"{kept} is not there: the session log was not upgraded from 0.1, or this was done already")
with closing(sqlite3.connect(log)) as newer:
    newer.execute("PRAGMA journal_mode = DELETE")  # what is in the journal becomes part of the file
with closing(sqlite3.connect(kept)) as older:
    older.execute("ATTACH ? AS newer", (str(log),))
    older.executescript(f"BEGIN; {ADD} COMMIT;")
log.replace(log.with_name("charges.db.0.2"))
kept.replace(log)
print(f"{log} is that of 0.1 with the sessions of 0.2")  # noqa: T201 - it is a command
