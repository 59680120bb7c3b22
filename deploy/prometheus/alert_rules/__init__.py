"""The alert rules of deploy/prometheus and deploy/grafana/alerting, from one source.

`python tests/generate.py` writes the files; `build.py` says which.
"""
