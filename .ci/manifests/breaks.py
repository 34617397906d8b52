"""Mistakes, each made in a copy of the manifests: a rule that does not find its mistake is useless.

Each is a name and what makes it; `find` gives the object to spoil.
"""


def find(items, kind, name):
    return next(item for item in items if (item["kind"], item["metadata"]["name"]) == (kind, name))


def worker(items):
    return find(items, "Deployment", "bangui")["spec"]["template"]


def agent(items):
    return find(items, "DaemonSet", "agent")["spec"]["template"]


def container(template):
    return template["spec"]["containers"][0]


BREAKS = {
    "an unknown kind": lambda i: find(i, "Service", "bangui").update(kind="Servise"),
    "an unknown field": lambda i: worker(i)["spec"].update(terminationGracePeriod=20),
    "an invalid number": lambda i: worker(i)["spec"].update(terminationGracePeriodSeconds="soon"),
    "an old version of the API": lambda i: find(i, "PodDisruptionBudget", "bangui").update(apiVersion="policy/v1beta1"),
    "a namespace that is not there": lambda i: find(i, "ConfigMap", "bangui")["metadata"].update(namespace="elsewhere"),
    "an object twice": lambda i: i.append(find(i, "Service", "bangui")),
    "a service that chooses nothing": lambda i: find(i, "Service", "agents")["spec"]["selector"].update(x="y"),
    "a budget that chooses nothing": lambda i: find(i, "PodDisruptionBudget", "bangui")["spec"]["selector"]["matchLabels"].update(x="y"),
    "pods that their set does not choose": lambda i: find(i, "DaemonSet", "agent")["spec"]["selector"]["matchLabels"].update(x="y"),
    "a spread over other pods": lambda i: worker(i)["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(x="y"),
    "a port of a service that no pod has": lambda i: find(i, "Service", "bangui")["spec"]["ports"][0].update(targetPort="web"),
    "an ingress to nowhere": lambda i: find(i, "Ingress", "bangui")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name="x"),
    "figures for the outside": lambda i: find(i, "Ingress", "bangui")["spec"]["rules"][0]["http"]["paths"][0].update(path="/metrics"),
    "a probe at an unknown port": lambda i: container(worker(i))["readinessProbe"]["httpGet"].update(port="web"),
    "no probe": lambda i: container(agent(i)).pop("livenessProbe"),
    "a policy for nobody": lambda i: find(i, "NetworkPolicy", "worker")["spec"]["podSelector"]["matchLabels"].update(x="y"),
    "a policy that names nobody": lambda i: find(i, "NetworkPolicy", "agent")["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"].update(x="y"),
    "workers that are open to every pod": lambda i: find(i, "NetworkPolicy", "worker")["spec"]["ingress"][0].pop("from"),
    "figures that are open to every pod": lambda i: find(i, "NetworkPolicy", "metrics")["spec"]["ingress"][0].pop("from"),
    "a policy with an unknown port": lambda i: find(i, "NetworkPolicy", "worker")["spec"]["egress"][1]["ports"][0].update(port="web"),
    "no policy": lambda i: i.remove(find(i, "NetworkPolicy", "agent")),
    "a limit below its request": lambda i: container(worker(i))["resources"]["limits"].update(memory="8Mi"),
    "no requests": lambda i: container(agent(i))["resources"].pop("requests"),
    "at least more than at most": lambda i: find(i, "HorizontalPodAutoscaler", "bangui")["spec"].update(minReplicas=11),
    "an autoscaler of nothing": lambda i: find(i, "HorizontalPodAutoscaler", "bangui")["spec"]["scaleTargetRef"].update(name="x"),
    "a budget that lets nobody go": lambda i: find(i, "PodDisruptionBudget", "bangui")["spec"].update(minAvailable=3),
    "an update that is noticed": lambda i: find(i, "Deployment", "bangui")["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
    "no such secret": lambda i: i.remove(find(i, "Secret", "bangui")),
    "no such key": lambda i: find(i, "Secret", "bangui")["metadata"].pop("annotations"),
    "a certificate that nobody makes": lambda i: find(i, "ConfigMap", "workers")["metadata"].pop("annotations"),
    "a secret for everybody to read": lambda i: find(i, "Secret", "bangui").update(stringData={"setup-token": "replace-this-example"}),
    "no such settings": lambda i: i.remove(find(i, "ConfigMap", "bangui")),
    "no such account": lambda i: worker(i)["spec"].update(serviceAccountName="x"),
    "a volume that is not there": lambda i: agent(i)["spec"]["volumes"].pop(),
    "an image that may change": lambda i: container(worker(i)).update(image="bangui:latest"),
    "an image of another version": lambda i: container(worker(i)).update(image="bangui:0.0.9"),
    "a worker that is root": lambda i: worker(i)["spec"]["securityContext"].update(runAsUser=0),
    "a root that can be written": lambda i: container(worker(i))["securityContext"].update(readOnlyRootFilesystem=False),
    "a capability": lambda i: container(worker(i))["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    "a path of the node for a worker": lambda i: worker(i)["spec"]["volumes"][0].update(hostPath={"path": "/etc"}),
    "another path of the node": lambda i: container(agent(i))["volumeMounts"][0].update(mountPath="/run"),
    "a node's configuration to be written": lambda i: container(agent(i))["volumeMounts"][1].update(readOnly=False),
    "the node's network": lambda i: agent(i)["spec"].update(hostNetwork=True),
    "an API token": lambda i: worker(i)["spec"].pop("automountServiceAccountToken"),
    "an API token for the agent": lambda i: agent(i)["spec"].update(automountServiceAccountToken=True),
    "the workers' key where it is not needed": lambda i: find(i, "StatefulSet", "redis")["spec"]["template"]["spec"]["volumes"][1]["secret"]["items"].append({"key": "worker.key", "path": "worker.key"}),
    "all secrets where one is needed": lambda i: find(i, "StatefulSet", "redis")["spec"]["template"]["spec"]["volumes"][1]["secret"].pop("items"),
    "a right to every secret": lambda i: find(i, "Role", "secrets")["rules"][0].pop("resourceNames"),
    "a right to a secret that is not there": lambda i: find(i, "Role", "secrets")["rules"][0].update(resourceNames=["x"]),
    "a right to delete": lambda i: find(i, "Role", "workers")["rules"][0]["verbs"].append("delete"),
    "rights for nobody": lambda i: find(i, "RoleBinding", "workers")["subjects"][0].update(namespace="bangui-agents"),
    "rights by no role": lambda i: find(i, "RoleBinding", "secrets")["roleRef"].update(name="x"),
    "an agent's key that its container writes": lambda i: container(agent(i))["volumeMounts"][4].update(readOnly=False),
    "a monitor of nothing": lambda i: find(i, "ServiceMonitor", "bangui")["spec"]["selector"]["matchLabels"].update(x="y"),
    "an alert without a severity": lambda i: find(i, "PrometheusRule", "bangui")["spec"]["groups"][0]["rules"][0].pop("labels"),
    "a monitor of an unknown port": lambda i: find(i, "ServiceMonitor", "bangui")["spec"]["endpoints"][0].update(port="web"),
}
