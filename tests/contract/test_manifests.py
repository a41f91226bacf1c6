"""What schemas cannot see in the container files: that the parts fit each other, and the services in them.

A schema passes a selector that matches nothing, a probe of a port that nobody listens on, and `cpu: "two"`.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from aftercare.run import OPEN_REQUESTS_SECONDS
from aftercare.stack import PORTS, settings_class

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy/k8s/base"
DEV = ROOT / "deploy/k8s/overlays/dev"
DRAIN_SECONDS = OPEN_REQUESTS_SECONDS + 15  # the latter for stopping the broker's client

Document = dict[str, Any]


def documents(folder: Path) -> list[Document]:
    """Every object that the kustomization of a folder names, its own files only."""
    files = [folder / name for name in kustomization(folder)["resources"] if name.endswith(".yaml")]
    return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]


def kustomization(folder: Path) -> Document:
    """A folder's kustomization."""
    return dict(yaml.safe_load((folder / "kustomization.yaml").read_text()))


COMPOSE: Document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BASE_DOCUMENTS = documents(BASE)
ALL_DOCUMENTS = BASE_DOCUMENTS + documents(DEV)
WORKLOADS = [d for d in ALL_DOCUMENTS if d["kind"] in {"Deployment", "StatefulSet", "Job"}]


def label(document: Document) -> str:
    """How a test names an object."""
    return f"{document['kind']}/{document['metadata']['name']}"


def one(kind: str, name: str) -> Document:
    """The only object of that kind and name."""
    (found,) = [d for d in ALL_DOCUMENTS if d["kind"] == kind and d["metadata"]["name"] == name]
    return found


def pod(workload: Document) -> Document:
    """A workload's pod specification."""
    return dict(workload["spec"]["template"]["spec"])


def container(workload: Document) -> Document:
    """A workload's only container."""
    (only,) = pod(workload)["containers"]
    return dict(only)


def selected(selector: Mapping[str, Any]) -> set[str]:
    """The workloads whose pods a selector with `matchLabels` and `matchExpressions` (In) means."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    assert all(expression["operator"] == "In" for expression in selector.get("matchExpressions", []))
    return {
        label(workload)
        for workload in WORKLOADS
        for labels in [workload["spec"]["template"]["metadata"]["labels"]]
        if selector.get("matchLabels", {}).items() <= labels.items()
        and all(
            labels.get(expression["key"]) in expression["values"]
            for expression in selector.get("matchExpressions", [])
        )
    }


def pod_selectors(policy: Document) -> Iterator[Mapping[str, Any]]:
    """Every selection of pods in a network policy: whom it is for, and their peers."""
    yield policy["spec"]["podSelector"]
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get(peers, []):
                if "podSelector" in peer:
                    yield peer["podSelector"]


def seconds(text: str) -> int:
    """A duration of the compose file."""
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return int(found.group(1))


def environment(workload: Document) -> dict[str, str]:
    """The settings that a workload's container is given by name."""
    return {entry["name"]: entry["value"] for entry in container(workload).get("env", [])}


def settings_env() -> dict[str, str]:
    """What the base tells all services."""
    lines = (BASE / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


# --- the manifests of Kubernetes


@pytest.mark.parametrize("folder", [BASE, DEV], ids=lambda folder: folder.name)
def test_no_file_lies_beside_the_kustomization_unused(folder: Path) -> None:
    there = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}

    assert there == {name for name in kustomization(folder)["resources"] if name.endswith(".yaml")}


@pytest.mark.parametrize("name", PORTS)
def test_every_service_has_all_that_belongs_to_it(name: str) -> None:
    kinds = {d["kind"] for d in BASE_DOCUMENTS if d["metadata"]["name"] == name}

    assert kinds >= {"Deployment", "Service", "PodDisruptionBudget", "ServiceAccount"}
    assert pod(one("Deployment", name))["serviceAccountName"] == name
    assert container(one("Deployment", name))["args"] == ["run", name]


@pytest.mark.parametrize("name", PORTS)
def test_a_service_survives_the_loss_of_a_node(name: str) -> None:
    replicas = one("Deployment", name)["spec"]["replicas"]

    assert replicas >= 2
    assert 0 < one("PodDisruptionBudget", name)["spec"]["maxUnavailable"] < replicas


@pytest.mark.parametrize("workload", WORKLOADS, ids=label)
def test_a_workload_selects_its_own_pods_and_no_others(workload: Document) -> None:
    if workload["kind"] == "Job":
        assert "selector" not in workload["spec"], "the controller makes a Job's selector"
        return

    assert selected(workload["spec"]["selector"]) == {label(workload)}
    for spread in pod(workload).get("topologySpreadConstraints", []):
        assert selected(spread["labelSelector"]) == {label(workload)}


@pytest.mark.parametrize("document", [d for d in ALL_DOCUMENTS if d["kind"] == "Service"], ids=label)
def test_a_service_leads_to_a_port_of_its_own_pods(document: Document) -> None:
    (target,) = selected({"matchLabels": document["spec"]["selector"]})
    kind, name = target.split("/")
    ports = {port["name"]: port["containerPort"] for port in container(one(kind, name))["ports"]}

    assert name == document["metadata"]["name"]
    assert [(p["port"], ports[p["targetPort"]]) for p in document["spec"]["ports"]] == [
        (p["port"], p["port"]) for p in document["spec"]["ports"]
    ]


@pytest.mark.parametrize("name", PORTS)
def test_a_disruption_budget_guards_its_own_pods(name: str) -> None:
    selector = one("PodDisruptionBudget", name)["spec"]["selector"]

    assert selected(selector) == {f"Deployment/{name}"}


@pytest.mark.parametrize("document", [d for d in ALL_DOCUMENTS if d["kind"] == "NetworkPolicy"], ids=label)
def test_a_network_policy_selects_somebody(document: Document) -> None:
    for selector in pod_selectors(document):
        assert selected(selector), selector


def test_network_policy_lets_nobody_be_forgotten() -> None:
    ours = {label(workload) for workload in WORKLOADS if container(workload)["image"] == "aftercare"}
    policy = one("NetworkPolicy", "aftercare")["spec"]

    assert selected(policy["podSelector"]) == ours
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}


def test_those_with_a_fall_back_to_crisis_reach_it_and_nobody_else_does() -> None:
    crisis = one("NetworkPolicy", "crisis")["spec"]
    allowed = one("NetworkPolicy", "callers-of-crisis")["spec"]
    (caller,) = [rule["from"][0]["podSelector"] for rule in crisis["ingress"]]
    (callee,) = [rule["to"][0]["podSelector"] for rule in allowed["egress"]]
    in_need = {f"Deployment/{name}" for name in PORTS if "crisis_url" in settings_class(name).model_fields}

    assert selected(caller) == selected(allowed["podSelector"]) == in_need
    assert selected(callee) == selected(crisis["podSelector"]) == {"Deployment/crisis"}


def test_the_development_broker_and_database_may_be_reached() -> None:
    open_ports = {
        port["port"]
        for rule in one("NetworkPolicy", "aftercare")["spec"]["egress"]
        if "to" not in rule
        for port in rule["ports"]
    }
    engines = {port["port"] for d in documents(DEV) if d["kind"] == "Service" for port in d["spec"]["ports"]}

    assert engines <= open_ports


@pytest.mark.parametrize("name", PORTS)
def test_three_probes_ask_the_right_page_of_the_right_port(name: str) -> None:
    described = container(one("Deployment", name))
    asked = {
        probe: (described[probe]["httpGet"]["path"], described[probe]["httpGet"]["port"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert asked == {
        "startupProbe": ("/healthz", "http"),
        "livenessProbe": ("/healthz", "http"),
        "readinessProbe": ("/readyz", "http"),
    }
    assert described["ports"] == [{"name": "http", "containerPort": PORTS[name]}]


@pytest.mark.parametrize("name", PORTS)
def test_a_pod_has_time_to_drain(name: str) -> None:
    described = one("Deployment", name)
    lingers = container(described)["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod(described)["terminationGracePeriodSeconds"] > lingers + DRAIN_SECONDS


@pytest.mark.parametrize("workload", WORKLOADS, ids=label)
def test_no_pod_runs_as_root_or_can_become_it(workload: Document) -> None:
    of_pod, of_container = pod(workload)["securityContext"], container(workload)["securityContext"]

    assert of_pod["runAsNonRoot"] is True
    assert of_pod["runAsUser"] > 0
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container["allowPrivilegeEscalation"] is False
    assert of_container["capabilities"] == {"drop": ["ALL"]}
    assert "privileged" not in of_container
    assert pod(workload)["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(workload).keys()


@pytest.mark.parametrize(
    "workload", [w for w in WORKLOADS if container(w)["image"] == "aftercare"], ids=label
)
def test_our_pods_write_nowhere_but_to_tmp(workload: Document) -> None:
    assert container(workload)["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {volume["name"]: volume for volume in pod(workload)["volumes"]}
    writable = [mount for mount in container(workload)["volumeMounts"] if not mount.get("readOnly")]

    assert writable == [{"name": "tmp", "mountPath": "/tmp"}]
    assert volumes["tmp"] == {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
    assert volumes.keys() == {mount["name"] for mount in container(workload)["volumeMounts"]}


@pytest.mark.parametrize("workload", WORKLOADS, ids=label)
def test_resources_are_quantities_and_requests_fit_their_limits(workload: Document) -> None:
    resources = container(workload)["resources"]

    assert cores(resources["requests"]["cpu"]) > 0
    assert 0 < mebibytes(resources["requests"]["memory"]) <= mebibytes(resources["limits"]["memory"])


def cores(quantity: object) -> float:
    """A quantity of processor time: `250m` or a number."""
    found = re.fullmatch(r"(\d+)m|(\d+(?:\.\d+)?)", str(quantity))
    assert found, f"not a quantity of cpu: {quantity!r}"
    return int(found[1]) / 1000 if found[1] else float(found[2])


def mebibytes(quantity: object) -> int:
    """A quantity of memory in Mi or Gi."""
    found = re.fullmatch(r"(\d+)(Mi|Gi)", str(quantity))
    assert found, f"not a quantity of memory: {quantity!r}"
    return int(found[1]) * (1024 if found[2] == "Gi" else 1)


def test_a_wrong_quantity_is_noticed() -> None:
    with pytest.raises(AssertionError, match="not a quantity"):
        cores("two")
    with pytest.raises(AssertionError, match="not a quantity"):
        mebibytes("512MB")


def test_the_overlay_changes_things_that_exist() -> None:
    overlay = kustomization(DEV)
    deployments = {d["metadata"]["name"] for d in BASE_DOCUMENTS if d["kind"] == "Deployment"}

    assert {entry["name"] for entry in overlay["replicas"]} == deployments == set(PORTS)
    assert {patch["target"]["name"] for patch in overlay["patches"]} <= deployments
    assert overlay["namespace"] == one("Namespace", overlay["namespace"])["metadata"]["name"]


@pytest.mark.parametrize("name", [*PORTS, "topics"])
def test_settings_come_from_the_common_map_and_the_secret(name: str) -> None:
    kind = "Job" if name == "topics" else "Deployment"
    sources = container(one(kind, name))["envFrom"]

    assert {"configMapRef": {"name": "aftercare"}} in sources
    assert {"secretRef": {"name": "aftercare"}} in sources
    assert "aftercare" in {generator["name"] for generator in kustomization(BASE)["configMapGenerator"]}


@pytest.mark.parametrize("name", PORTS)
def test_a_service_is_shown_no_other_services_secrets(name: str) -> None:
    described = one("Deployment", name)
    sources = [
        source["secretRef"]["name"] for source in container(described)["envFrom"] if "secretRef" in source
    ]
    sources += [volume["secret"]["secretName"] for volume in pod(described)["volumes"] if "secret" in volume]

    assert all(source == "aftercare" or source.startswith(f"aftercare-{name}") for source in sources)


# --- secrets


def test_no_secret_is_committed() -> None:
    assert not [label(d) for d in ALL_DOCUMENTS if d["kind"] == "Secret"]
    assert "secretGenerator" not in kustomization(BASE)
    assert kustomization(DEV)["secretGenerator"] == [{"name": "aftercare", "envs": ["secret.env"]}]
    for name in ("AFTERCARE_TOKEN_SECRET", "AFTERCARE_MASTER_KEY"):
        assert str(COMPOSE["x-settings"][name]).startswith("${" + name + ":?")
        assert name not in settings_env()


def test_fresh_secrets_are_fresh_and_long_enough() -> None:
    first, second = (
        dict(line.split("=", 1) for line in run_secrets().splitlines() if line) for _ in range(2)
    )

    assert first.keys() == {"AFTERCARE_TOKEN_SECRET", "AFTERCARE_MASTER_KEY"}
    assert len(base64.b64decode(first["AFTERCARE_MASTER_KEY"], validate=True)) == 96
    assert all(first[name] != second[name] for name in first)


def run_secrets() -> str:
    """What the script prints."""
    script = ROOT / "deploy/secrets.sh"
    return subprocess.run([script], check=True, capture_output=True, text=True, timeout=30).stdout


# --- the composition


@pytest.mark.parametrize("name", PORTS)
def test_compose_runs_the_service_on_its_port_of_loopback(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["command"] == ["run", name]
    assert service["environment"]["AFTERCARE_HTTP_PORT"] == str(PORTS[name])
    assert service["environment"]["AFTERCARE_HTTP_HOST"] == "0.0.0.0"
    assert service["ports"] == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]
    assert "/readyz" in service["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", PORTS)
def test_compose_starts_a_service_once_all_it_needs_is_there(name: str) -> None:
    waits = {other: gate["condition"] for other, gate in COMPOSE["services"][name]["depends_on"].items()}

    assert waits == {
        "kafka": "service_healthy",
        "mongo": "service_healthy",
        "prepare": "service_completed_successfully",
    }
    assert all("healthcheck" in COMPOSE["services"][other] for other in ("kafka", "mongo"))
    assert COMPOSE["services"]["prepare"]["command"] == ["topics", "apply"]


@pytest.mark.parametrize("name", [*PORTS, "prepare"])
def test_compose_confines_our_containers_and_lets_them_drain(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert seconds(service["stop_grace_period"]) > DRAIN_SECONDS


def test_compose_publishes_nothing_beyond_this_machine() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_has_every_service_and_no_other() -> None:
    assert set(COMPOSE["services"]) == {"kafka", "mongo", "prepare", *PORTS}


# --- all of them together


@pytest.mark.parametrize("name", PORTS)
def test_compose_and_kubernetes_give_a_service_the_same(name: str) -> None:
    in_pod, in_compose = environment(one("Deployment", name)), COMPOSE["services"][name]["environment"]

    assert in_pod.items() <= in_compose.items()
    assert settings_env().keys() <= in_compose.keys()
    assert settings_env()["AFTERCARE_HTTP_HOST"] == in_compose["AFTERCARE_HTTP_HOST"]


@pytest.mark.parametrize("name", ["intake", "survey"])
def test_the_fall_back_leads_to_crisis(name: str) -> None:
    port = one("Service", "crisis")["spec"]["ports"][0]["port"]

    assert environment(one("Deployment", name))["AFTERCARE_CRISIS_URL"] == f"http://crisis:{port}"


@pytest.mark.parametrize("name", PORTS)
def test_every_variable_is_a_setting_of_the_service_that_gets_it(name: str) -> None:
    known = {f"AFTERCARE_{field.upper()}" for field in settings_class(name).model_fields}
    given = {
        *COMPOSE["services"][name]["environment"],
        *environment(one("Deployment", name)),
        *settings_env(),
    }

    assert {variable for variable in given if variable.startswith("AFTERCARE_")} <= known


def test_every_variable_that_is_written_about_is_a_setting() -> None:
    known = {f"AFTERCARE_{field.upper()}" for name in PORTS for field in settings_class(name).model_fields}
    compose_only = {"AFTERCARE_IMAGE", "AFTERCARE_TOKEN"}  # the latter for the drill
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy").rglob("*")]
    named = {
        found
        for file in files
        if file.is_file()
        for found in re.findall(r"AFTERCARE_[A-Z_]*[A-Z]", file.read_text())
    }

    assert named - compose_only <= known


@pytest.mark.parametrize("name", PORTS)
def test_the_settings_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {**settings_env(), **environment(one("Deployment", name))}.items():
        monkeypatch.setenv(variable, value)

    settings = settings_class(name)()

    assert settings.http_port == PORTS[name]
    assert settings.http_host == settings_env()["AFTERCARE_HTTP_HOST"]


@pytest.mark.parametrize("engine", ["kafka", "mongo"])
def test_compose_and_the_overlay_run_the_same_engines(engine: str) -> None:
    in_pod = container(one("StatefulSet", engine))
    default = re.fullmatch(r"\$\{[A-Z]+_IMAGE:-(.+)\}", COMPOSE["services"][engine]["image"])

    assert default
    assert in_pod["image"] == default.group(1)
    if engine == "kafka":
        named = set(COMPOSE["services"]["kafka"]["environment"])
        assert {entry["name"] for entry in in_pod["env"]} == named
    else:
        assert in_pod["args"] == COMPOSE["services"]["mongo"]["command"]


def test_the_image_runs_as_the_user_that_the_pods_name() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[0]
    exposed = re.findall(r"^EXPOSE (.+)$", dockerfile, re.MULTILINE)[0].split()

    assert {int(port) for port in exposed} == set(PORTS.values())
    for workload in WORKLOADS:
        if container(workload)["image"] == "aftercare":
            context = pod(workload)["securityContext"]
            assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))


def test_the_image_gets_everything_that_it_copies() -> None:
    """What the ignore file keeps back cannot be copied; what it lets through beyond that would be a leak."""
    copied = re.findall(
        r"^COPY (?:--chmod=\d+ )?([\w./-]+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert sorted(copied) == sorted(let_through)
    assert all((ROOT / path).exists() for path in copied)
