"""The Kubernetes manifests: built as `kubectl apply -k` builds them, each by its schema, and together."""

import json
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helpers.prometheus_rule import RECORDING
from helpers.support import PROJECT, RELEASE, server

from ccl_exporter.config import document as configuration

FOLDER = PROJECT / "deploy" / "kustomize"
DASHBOARDS = PROJECT / "dashboards"
PROMETHEUS = PROJECT / "deploy" / "prometheus" / "prometheus.yml"
VERSIONS = ("1.25", "1.37")
"""Of Kubernetes, the oldest and the newest whose schemas there are."""

Object = dict[str, Any]


@cache
def built(overlay: str) -> list[Object]:
    shown = subprocess.run(
        [server("kubectl"), "kustomize", str(FOLDER / overlay)], check=True, capture_output=True, text=True
    )
    assert shown.stderr == ""
    return list(yaml.safe_load_all(shown.stdout))


def kind(overlay: str, wanted: str, name: str = "ccl-exporter") -> Object:
    (found,) = [one for one in built(overlay) if (one["kind"], one["metadata"]["name"]) == (wanted, name)]
    return found


def of_the_operator(one: Object) -> bool:
    return bool(one["apiVersion"].startswith("monitoring.coreos.com/"))


def unknown(given: object, kept: object, place: str = "") -> list[str]:
    """The places of what a model has not kept."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            found
            for key, value in given.items()
            for found in ([f"{place}.{key}"] if key not in kept else unknown(value, kept[key], f"{place}.{key}"))
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            found
            for number, pair in enumerate(zip(given, kept, strict=True))
            for found in unknown(*pair, f"{place}.{number}")
        ]
    return [] if given == kept else [place]


def schema_errors(one: Object) -> list[str]:
    """What is wrong with an object of the Prometheus operator, unknown keys too; raises where a type is wrong."""
    from cloudcoil.models.prometheus_operator import v1, v1alpha1  # noqa: PLC0415 - takes seconds

    model = getattr({"v1": v1, "v1alpha1": v1alpha1}[one["apiVersion"].partition("/")[2]], one["kind"])
    kept = model.model_validate(one).model_dump(mode="json", by_alias=True, exclude_unset=True)
    return unknown(one, kept)


@pytest.mark.parametrize("overlay", ["base", "fleet"])
def test_every_object_is_one_by_its_schema(overlay: str) -> None:
    for one in built(overlay):
        if of_the_operator(one):
            assert schema_errors(one) == [], one["metadata"]["name"]
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(one, version, strict=True)
        assert one["metadata"]["namespace"] == "monitoring"
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "ccl-exporter"


def test_a_misspelt_key_would_be_found() -> None:
    monitor = json.loads(json.dumps(kind("base", "ServiceMonitor")))
    monitor["spec"]["endpoints"][0]["intervall"] = "1s"
    deployment = json.loads(json.dumps(kind("base", "Deployment")))
    deployment["spec"]["replica"] = 2

    assert schema_errors(monitor) == [".spec.endpoints.0.intervall"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(("overlay", "life"), [("base", "home"), ("fleet", "fleet")])
def test_the_rules_are_those_of_prometheus(overlay: str, life: str) -> None:
    paths = (RECORDING, RECORDING.with_name(f"{life}.yml"))
    groups = [group for path in paths for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    assert kind(overlay, "PrometheusRule")["spec"]["groups"] == groups


def test_every_dashboard_is_a_config_map_of_the_same_file() -> None:
    maps = [one for one in built("base") if "grafana_dashboard" in one["metadata"]["labels"]]
    found = {name: text for one in maps for name, text in one["data"].items()}

    assert found == {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.glob("*.json")}
    assert all(len(json.dumps(one)) < 1_000_000 for one in maps)  # a config map's limit is a mebibyte


@pytest.mark.parametrize("overlay", ["base", "fleet"])
def test_the_configuration_is_mounted_where_the_exporter_reads_it_and_is_valid(overlay: str) -> None:
    pod = kind(overlay, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (path,) = [word.partition("=")[2] for word in container["args"] if word.startswith("--config.file=")]
    (mount,) = [mount for mount in container["volumeMounts"] if path.startswith(f"{mount['mountPath']}/")]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    (text,) = [
        one["data"][path.removeprefix(f"{mount['mountPath']}/")]
        for one in built(overlay)
        if one["metadata"]["name"] == volume["configMap"]["name"] and one["kind"] == "ConfigMap"
    ]
    chargers = configuration.load(FOLDER / overlay / "ccl.yaml", {}).settings.chargers

    assert text == (FOLDER / overlay / "ccl.yaml").read_text(encoding="utf-8")
    assert container["image"] == f"ccl-exporter:{RELEASE}"
    if overlay == "base":
        assert kind(overlay, "Probe")["spec"]["targets"]["staticConfig"]["static"] == list(chargers)


@pytest.mark.parametrize("overlay", ["base", "fleet"])
def test_services_monitors_and_policies_find_what_they_look_for(overlay: str) -> None:
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in built(overlay) if one["kind"] == "Deployment"]
    services = [one for one in built(overlay) if one["kind"] == "Service"]
    selectors = [one["spec"]["selector"] for one in services]
    for one in built(overlay):
        match one["kind"]:
            case "NetworkPolicy":
                selectors.append(one["spec"]["podSelector"]["matchLabels"])
            case "PodDisruptionBudget":
                selectors.append(one["spec"]["selector"]["matchLabels"])
    monitor = kind(overlay, "ServiceMonitor")["spec"]

    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1, selector
    (watched,) = [
        service
        for service in services
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert watched["spec"]["selector"]["app.kubernetes.io/component"] == "exporter"
    assert watched["metadata"]["labels"][monitor["jobLabel"]] == "ccl-exporter"
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in watched["spec"]["ports"]]


@pytest.mark.parametrize("overlay", ["base", "fleet"])
def test_alerts_find_the_jobs_and_labels_that_they_have_without_kubernetes(overlay: str) -> None:
    """The job of the chargers, that of the exporter, which of its metrics are kept, the label `exporter`."""
    jobs = {
        job["job_name"]: job for job in yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]
    }
    (chargers,) = [one["spec"] for one in built(overlay) if one["kind"] in ("Probe", "ScrapeConfig")]
    (own,) = kind(overlay, "ServiceMonitor")["spec"]["endpoints"]
    (kept,) = jobs["ccl-exporter"]["metric_relabel_configs"]

    assert chargers["jobName"] in jobs
    assert own["metricRelabelings"] == [
        {"sourceLabels": kept["source_labels"], "regex": kept["regex"], "action": kept["action"]}
    ]
    assert "exporter" in [rule["targetLabel"] for rule in own["relabelings"]]
    if overlay == "base":
        assert chargers["targets"]["staticConfig"]["labels"]["exporter"] == own["relabelings"][0]["replacement"]
    else:
        assert "exporter" in [rule["targetLabel"] for rule in chargers["relabelings"]]


def test_probes_of_the_fleet_come_through_the_balancer() -> None:
    assert [one for one in built("fleet") if one["kind"] in ("Probe", "PersistentVolumeClaim")] == []
    service = kind("fleet", "Service")
    scrapes = kind("fleet", "ScrapeConfig")["spec"]
    balancer = kind("fleet", "Deployment", "ccl-balancer")["spec"]["template"]["spec"]["containers"][0]
    config = (FOLDER / "fleet" / "haproxy.cfg").read_text(encoding="utf-8")
    names, (port,) = service["metadata"], service["spec"]["ports"]
    address = f"{names['name']}.{names['namespace']}.svc:{port['port']}"
    (exporters,) = [item["value"] for item in balancer["env"] if item["name"] == "EXPORTERS"]

    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "balancer"
    assert scrapes["httpSDConfigs"][0]["url"] == f"http://{address}/sd"
    assert address in [rule.get("replacement") for rule in scrapes["relabelings"]]
    assert exporters.startswith(f"{kind('fleet', 'Service', 'ccl-exporter-each')['metadata']['name']}.")
    assert '"${EXPORTERS}:9986"' in config
    assert kind("fleet", "Deployment")["spec"]["replicas"] <= int(
        re.findall(r"server-template exporter (\d+)", config)[0]
    )


def pods(objects: Sequence[Object]) -> list[Object]:
    """The specification of every pod, wherever an object holds one."""
    found = []

    def search(part: object) -> None:
        if isinstance(part, dict):
            if "containers" in part:
                found.append(part)
            for inner in part.values():
                search(inner)
        elif isinstance(part, list):
            for inner in part:
                search(inner)

    search(list(objects))
    return found


VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
SECCOMP = ("RuntimeDefault", "Localhost")
SELINUX = (None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
SYSCTLS = frozenset(
    {
        *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"),
        *("net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range"),
        *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
        *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
    }
)


def not_restricted(pod: Object) -> list[str]:
    """What the level "restricted" of Kubernetes' Pod Security Standards forbids and a pod has."""
    whole = pod.get("securityContext", {})
    wrong = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for volume in pod.get("volumes", []):
        wrong += [f"volume {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    wrong += [item["name"] for item in whole.get("sysctls", []) if item["name"] not in SYSCTLS]
    kinds = ("containers", "initContainers", "ephemeralContainers")
    for container in (container for kind in kinds for container in pod.get(kind, [])):
        own = container.get("securityContext", {})
        context = {**whole, **own}
        capabilities = own.get("capabilities", {})
        allowed = {
            "privileged": not own.get("privileged", False),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities.drop": "ALL" in capabilities.get("drop", []),
            "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": context.get("runAsNonRoot") is True,
            "runAsUser": all(one.get("runAsUser") != 0 for one in (whole, own)),
            "seccompProfile": context.get("seccompProfile", {}).get("type") in SECCOMP,
            "appArmorProfile": context.get("appArmorProfile", {}).get("type") != "Unconfined",
            "seLinuxOptions": all(_is_plain(one.get("seLinuxOptions", {})) for one in (whole, own)),
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "probe.host": not any(
                handler.get("host")
                for probe in ("livenessProbe", "readinessProbe", "startupProbe")
                for handler in container.get(probe, {}).values()
                if isinstance(handler, dict)
            ),
        }
        wrong += [f"{container['name']}: {what}" for what, is_allowed in allowed.items() if not is_allowed]
    return wrong


def _is_plain(options: Object) -> bool:
    return options.get("type") in SELINUX and not options.get("user") and not options.get("role")


@pytest.mark.parametrize("overlay", ["base", "fleet"])
def test_every_pod_is_admitted_by_the_level_restricted(overlay: str) -> None:
    found = pods(built(overlay))

    assert len(found) == {"base": 1, "fleet": 2}[overlay]
    assert [not_restricted(pod) for pod in found] == [[]] * len(found)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"hostNetwork": True}, ["hostNetwork"]),
        ({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, ["volume hostPath"]),
        ({"securityContext": {"runAsNonRoot": True}}, ["a: seccompProfile"]),
        ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, ["a: runAsNonRoot"]),
        ({"initContainers": [{"name": "b"}]}, ["b: allowPrivilegeEscalation", "b: capabilities.drop"]),
    ],
)
def test_what_that_level_forbids_would_be_found(change: Object, wrong: Sequence[str]) -> None:
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    whole = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    good: Object = {"containers": [{"name": "a", "securityContext": own}], "securityContext": whole}

    assert not_restricted(good) == []
    assert not_restricted({**good, **change}) == wrong


@pytest.mark.parametrize("overlay", ["base", "fleet"])
def test_every_pod_has_a_read_only_root_no_token_and_a_fixed_version(overlay: str) -> None:
    for pod in pods(built(overlay)):
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert re.search(r":\d+\.\d+\.\d+$", container["image"])
