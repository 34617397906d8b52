"""The rules for the manifests of one rendering: each rule takes all its objects and yields what is wrong.

The types of Kubernetes' API are the first rule; the others are what the types cannot express: whether names, labels, ports and
numbers that belong together fit each other, and whether a pod is as closed as its namespace demands.
"""

import re

import kubernetes_validate

VERSION = "1.37"
SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 0.001}
# What an agent may see of its node, and whether it may write there.
NODE_PATHS = {"/run/fail2ban": True, "/etc/fail2ban": False, "/etc/fail2ban/jail.d": True, "/var/log": False, "/tls": False}
# Only the container that makes the agent's own key may write it.
MAKES_KEYS = {"certificate": {"/tls": True}}
# Namespaces that other components fill.
ELSEWHERE = {"kube-system", "ingress-nginx", "monitoring"}
# Objects that a job makes inside the cluster, with the keys that they will have.
MADE_HERE = "bangui/made-here"
MONITOR = {"selector", "endpoints", "namespaceSelector"}


def title(item):
    return f"{item['kind']} {item['metadata'].get('namespace', '-')}/{item['metadata']['name']}"


def pods(items):
    """Each object that makes pods, with what it makes them from."""
    return [(item, item["spec"]["template"]) for item in items if item["kind"] in ("Deployment", "DaemonSet", "StatefulSet", "Job")]


def containers(template):
    return template["spec"].get("initContainers", []) + template["spec"]["containers"]


def ports(template):
    return {port["name"] for container in containers(template) for port in container.get("ports", [])}


def chosen(items, namespaces, labels):
    """The templates whose pods these labels choose."""
    return [template for item, template in pods(items) if item["metadata"]["namespace"] in namespaces
            and labels.items() <= template["metadata"]["labels"].items()]


def quantity(text):
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()
    return float(number) * SCALE[unit]


def types(items):
    for item in items:
        if item["kind"] == "ServiceMonitor":
            # Not a type of Kubernetes but of the Prometheus operator: the part of it that we use.
            for field in set(item["spec"]) - MONITOR | {f for e in item["spec"]["endpoints"] for f in e} - {"port", "path", "interval"}:
                yield f"{title(item)}: the field {field} is not known here"
            continue
        if item["kind"] == "PrometheusRule":
            for rule in (rule for group in item["spec"]["groups"] for rule in group["rules"]):
                if set(rule) != {"alert", "expr", "for", "labels", "annotations"}:
                    yield f"{title(item)}: the rule {rule.get('alert')} has other fields than the rest"
            continue
        try:
            kubernetes_validate.validate(item, VERSION, strict=True)
        except Exception as error:  # unknown kinds, unknown fields, wrong values: all of them are wrong
            yield f"{title(item)}: {type(error).__name__}: {str(error):.200}"


def namespaces(items):
    known = {item["metadata"]["name"] for item in items if item["kind"] == "Namespace"}
    seen = set()
    for item in items:
        if title(item) in seen:
            yield f"{title(item)} is there twice"
        seen.add(title(item))
        if item["kind"] != "Namespace" and item["metadata"].get("namespace") not in known:
            yield f"{title(item)}: there is no such namespace"


def selectors(items):
    for item, template in pods(items):
        labels = template["metadata"]["labels"]
        # A job has no selector: the cluster chooses its pods.
        wanted = [item["spec"]["selector"]["matchLabels"]] if item["kind"] != "Job" else []
        wanted += [spread["labelSelector"]["matchLabels"] for spread in template["spec"].get("topologySpreadConstraints", [])]
        for selector in wanted:
            if not selector.items() <= labels.items():
                yield f"{title(item)}: the selector {selector} does not choose its own pods"
    for item in items:
        if item["kind"] == "Service":
            selector = item["spec"]["selector"]
        elif item["kind"] == "PodDisruptionBudget":
            selector = item["spec"]["selector"]["matchLabels"]
        elif item["kind"] == "NetworkPolicy":
            selector = item["spec"]["podSelector"]["matchLabels"]
        else:
            continue
        if not chosen(items, {item["metadata"]["namespace"]}, selector):
            yield f"{title(item)}: the selector {selector} chooses nothing"


def services(items):
    known = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in items if item["kind"] == "Service"}
    for item in known.values():
        for template in chosen(items, {item["metadata"]["namespace"]}, item["spec"]["selector"]):
            for port in item["spec"]["ports"]:
                if port["targetPort"] not in ports(template):
                    yield f"{title(item)}: its pods have no port {port['targetPort']}"
    for item in items:
        space = item["metadata"].get("namespace")
        if item["kind"] == "Ingress":
            for rule in item["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    backend = path["backend"]["service"]
                    service = known.get((space, backend["name"]))
                    if not service or backend["port"]["name"] not in {port["name"] for port in service["spec"]["ports"]}:
                        yield f"{title(item)}: {path['path']} leads to no port of a service: {backend}"
                    # Behind `/` too, unless they have a separate address, which no service of an Ingress leads to.
                    apart = any(
                        other["kind"] == "ConfigMap" and other["metadata"].get("namespace") == space
                        and "BANGUI_METRICS_LISTEN" in (other.get("data") or {})
                        for other in items
                    )
                    if path["path"] == "/metrics" or (path["path"] == "/" and not apart):
                        yield f"{title(item)}: {path['path']} passes the figures on to the outside"
        if item["kind"] == "StatefulSet" and (space, item["spec"]["serviceName"]) not in known:
            yield f"{title(item)}: there is no service {item['spec']['serviceName']}"
        if item["kind"] == "ServiceMonitor":
            labels = item["spec"]["selector"]["matchLabels"]
            found = [s for s in known.values() if s["metadata"]["namespace"] == space and labels.items() <= s["metadata"].get("labels", {}).items()]
            for endpoint in item["spec"]["endpoints"]:
                if not any(port["name"] == endpoint["port"] for s in found for port in s["spec"]["ports"]):
                    yield f"{title(item)}: no service that it chooses has a port {endpoint['port']}"


def probes(items):
    for item, template in pods(items):
        for container in template["spec"]["containers"]:
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {})
                port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                if port is not None and port not in {p["name"] for p in container.get("ports", [])}:
                    yield f"{title(item)}: the {kind} asks at port {port}, which {container['name']} has not"
            if item["kind"] != "Job" and not {"readinessProbe", "livenessProbe"} <= container.keys():
                yield f"{title(item)}: {container['name']} has not both probes"


def policies(items):
    labelled = {item["metadata"]["name"]: item["metadata"].get("labels", {}) for item in items if item["kind"] == "Namespace"}
    for item in items:
        if item["kind"] != "NetworkPolicy":
            continue
        own = item["metadata"]["namespace"]
        here = chosen(items, {own}, item["spec"]["podSelector"]["matchLabels"])
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for rule in item["spec"].get(direction, []):
                there = []
                if direction == "ingress" and not rule.get(side):
                    yield f"{title(item)}: open to everybody in the cluster"
                for peer in rule.get(side, []):
                    space = peer.get("namespaceSelector", {}).get("matchLabels")
                    spaces = {own} if space is None else {n for n, labels in labelled.items() if space.items() <= labels.items()}
                    if space and space.get("kubernetes.io/metadata.name") in ELSEWHERE:
                        continue
                    # The pod of .ci/k8s/walk.yaml, which no controller makes.
                    if "bangui-test" in peer.get("podSelector", {}).get("matchLabels", {}):
                        continue
                    found = chosen(items, spaces, peer["podSelector"]["matchLabels"])
                    if not found:
                        yield f"{title(item)}: {direction} names nobody who is there: {peer}"
                    there += found
                for port in rule.get("ports", []):
                    for template in here if direction == "ingress" else there:
                        if isinstance(port["port"], str) and port["port"] not in ports(template):
                            yield f"{title(item)}: {direction} names a port {port['port']} that its pods have not"
    for item, template in pods(items):
        covered = [policy for policy in items if policy["kind"] == "NetworkPolicy"
                   and policy["metadata"]["namespace"] == item["metadata"]["namespace"]
                   and policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()]
        if not any({"Ingress", "Egress"} <= set(policy["spec"]["policyTypes"]) for policy in covered):
            yield f"{title(item)}: no network policy holds its pods"


def numbers(items):
    scaled = {}
    for item in items:
        if item["kind"] == "HorizontalPodAutoscaler":
            spec, space = item["spec"], item["metadata"]["namespace"]
            if spec["minReplicas"] > spec["maxReplicas"]:
                yield f"{title(item)}: at least {spec['minReplicas']} and at most {spec['maxReplicas']}"
            target = [(i, t) for i, t in pods(items) if i["kind"] == spec["scaleTargetRef"]["kind"]
                      and (i["metadata"]["namespace"], i["metadata"]["name"]) == (space, spec["scaleTargetRef"]["name"])]
            if not target:
                yield f"{title(item)}: there is no {spec['scaleTargetRef']}"
            for _, template in target:
                scaled[id(template)] = spec["minReplicas"]
    for item in items:
        if item["kind"] == "PodDisruptionBudget":
            for template in chosen(items, {item["metadata"]["namespace"]}, item["spec"]["selector"]["matchLabels"]):
                if item["spec"]["minAvailable"] >= scaled.get(id(template), 1):
                    yield f"{title(item)}: no pod could ever be evicted"
    for item, template in pods(items):
        for container in containers(template):
            resources = container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            if not {"cpu", "memory"} <= requests.keys() or "memory" not in limits:
                yield f"{title(item)}: {container['name']} lacks requests or limits"
            for name in requests.keys() & limits.keys():
                if quantity(limits[name]) < quantity(requests[name]):
                    yield f"{title(item)}: {container['name']} may have less {name} than it asks for"
        if item["kind"] == "Deployment":
            rolling = item["spec"]["strategy"]["rollingUpdate"]
            if rolling["maxUnavailable"] != 0 or "lifecycle" in str(template):
                yield f"{title(item)}: an update would be noticed"


def references(items):
    held = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]):
            set(item.get("stringData", {})) | set(item.get("data", {}))
            | set(item["metadata"].get("annotations", {}).get(MADE_HERE, "").split()) for item in items}
    for item, template in pods(items):
        space, spec = item["metadata"]["namespace"], template["spec"]
        account = spec.get("serviceAccountName")
        if account and ("ServiceAccount", space, account) not in held:
            yield f"{title(item)}: there is no service account {account}"
        wanted, files = [], {}
        for volume in spec.get("volumes", []):
            for kind, field, name in (("Secret", "secret", "secretName"), ("ConfigMap", "configMap", "name")):
                if field in volume:
                    keys = [entry["key"] for entry in volume[field].get("items", [])]
                    wanted.append((kind, volume[field][name], keys))
                    files[volume["name"]] = keys or held.get((kind, space, volume[field][name]), set())
        claims = {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])}
        there = {volume["name"] for volume in spec.get("volumes", [])} | claims
        mounted = set()
        for container in containers(template):
            wanted += [("ConfigMap", source["configMapRef"]["name"], []) for source in container.get("envFrom", [])]
            mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", [])}
            mounted |= set(mounts.values())
            for entry in container.get("env", []):
                for kind, field in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
                    if field in entry.get("valueFrom", {}):
                        source = entry["valueFrom"][field]
                        wanted.append((kind, source["name"], [source["key"]]))
                folder, _, file = entry.get("value", "").rpartition("/")
                if mounts.get(folder) in files and file not in files[mounts[folder]]:
                    yield f"{title(item)}: {entry['name']} names {entry['value']}, which no secret has"
        for name in mounted ^ there:
            yield f"{title(item)}: the volume {name} is not mounted, or not there"
        for kind, name, keys in wanted:
            if (kind, space, name) not in held:
                yield f"{title(item)}: there is no {kind} {name}"
            for key in set(keys) - held.get((kind, space, name), set(keys)):
                yield f"{title(item)}: the {kind} {name} has no {key}"


def images(items, version):
    for item, template in pods(items):
        for container in containers(template):
            name, _, tag = container["image"].rpartition(":")
            if not name or tag == "latest":
                yield f"{title(item)}: the image {container['image']} may be another one tomorrow"
            if name.startswith("bangui") and tag != version:
                yield f"{title(item)}: the image {container['image']} is not of version {version}"


def security(items):
    enforced = {item["metadata"]["name"]: item["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
                for item in items if item["kind"] == "Namespace"}
    for item, template in pods(items):
        spec, pod = template["spec"], template["spec"].get("securityContext", {})
        restricted = enforced.get(item["metadata"]["namespace"]) == "restricted"
        paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec.get("volumes", []) if "hostPath" in volume}
        bound = any(item["kind"] == "RoleBinding" and subject["name"] == spec.get("serviceAccountName")
                    for item in items for subject in item.get("subjects", []))
        if spec.get("automountServiceAccountToken") is not False and not bound:
            yield f"{title(item)}: its pods can speak with the API server, and need not"
        if any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{title(item)}: shares more with its node than paths"
        for container in containers(template):
            own = {**pod, **container.get("securityContext", {})}
            closed = (own.get("allowPrivilegeEscalation") is False and own.get("readOnlyRootFilesystem") is True
                      and not own.get("privileged") and own.get("capabilities", {}).get("drop") == ["ALL"]
                      and own.get("seccompProfile", {}).get("type") == "RuntimeDefault")
            if not closed:
                yield f"{title(item)}: {container['name']} is more open than it need be"
            if restricted and (own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0 or own["capabilities"].get("add") or paths):
                yield f"{title(item)}: {container['name']} is not restricted, as its namespace demands"
            for mount in container.get("volumeMounts", []):
                path = paths.get(mount["name"])
                # In the tests, the fail2ban that they add takes the place of the node's own.
                may = {**NODE_PATHS, **MAKES_KEYS.get(container["name"], {})}.get(mount["mountPath"])
                if path and not path.startswith("/var/tmp/bangui-test") and may is not (not mount.get("readOnly", False)):
                    yield f"{title(item)}: {container['name']} may have {path} of the node neither there nor so"


def worker_key(items):
    """The key that agents obey is the workers' alone."""
    for item, template in pods(items):
        for volume in template["spec"].get("volumes", []):
            secret = volume.get("secret", {})
            keys = [entry["key"] for entry in secret.get("items", [])]
            if secret.get("secretName") == "bangui" and (not keys or "worker.key" in keys) and item["kind"] != "Deployment":
                yield f"{title(item)}: sees the key that agents obey"


def rights(items):
    """Rights at the API server are for named objects only, and for a service account that exists."""
    there = {(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in items}
    for item in items:
        if item["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{title(item)}: nothing here needs rights in the whole cluster"
        if item["kind"] == "Role":
            for rule in item["rules"]:
                names = {(kind, item["metadata"]["namespace"], name) for name in rule.get("resourceNames", [])
                         for kind in {"secrets": ["Secret"], "configmaps": ["ConfigMap"]}.get(rule["resources"][0], [])}
                if not names or not names <= there or len(rule["resources"]) != 1 or not set(rule["verbs"]) <= {"get", "patch"}:
                    yield f"{title(item)}: more rights than to look at and fill what is there: {rule}"
        if item["kind"] == "RoleBinding":
            if ("Role", item["metadata"]["namespace"], item["roleRef"]["name"]) not in there:
                yield f"{title(item)}: there is no role {item['roleRef']['name']}"
            for subject in item["subjects"]:
                if ("ServiceAccount", subject["namespace"], subject["name"]) not in there:
                    yield f"{title(item)}: there is no {subject['kind']} {subject['name']} in {subject['namespace']}"


def examples(items):
    """A secret must not be written in a manifest, where everybody can read it."""
    for item in items:
        for name, value in {**item.get("stringData", {}), **item.get("data", {})}.items():
            if item["kind"] == "Secret" and value.strip().lower().startswith("replace-this"):
                yield f"{title(item)}: {name} is an example"


RULES = [types, namespaces, selectors, services, probes, policies, numbers, references, security, worker_key, rights, examples]


def wrong(items, version):
    """What all rules find."""
    return [what for rule in RULES for what in rule(items)] + list(images(items, version))
