"""Renders each kustomization of k8s/, and what the tests add to it, and holds it against the rules; then makes mistakes in
it, each of which a rule must find. Usage: check.py KUBECTL, from the root of the repository.
"""

import copy
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

from breaks import BREAKS
from job import made_here
from rules import title, wrong

KUBECTL = sys.argv[1]
VERSION = re.search(r'^version = "(.*)"', pathlib.Path("Cargo.toml").read_text(), re.M).group(1)


def rendered(folder):
    text = subprocess.run([KUBECTL, "kustomize", str(folder)], check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def beside(copied, name, text):
    """A kustomization of somebody who uses ours."""
    folder = copied / name
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)
    return folder


with tempfile.TemporaryDirectory() as scratch:
    copied = pathlib.Path(scratch) / "k8s"
    shutil.copytree("k8s", copied)
    shutil.copytree(".ci/k8s", pathlib.Path(scratch) / ".ci/k8s")
    for kind in ("", "external-redis"):
        subprocess.run([copied / "make-secrets", *filter(None, [kind])], check=True, stdout=subprocess.DEVNULL)
        (copied / "own").rename(copied / f"own-{kind or 'redis'}")
    monitored = "components: [../monitoring]\nresources: [../base, ../redis, ../agents]\n"
    folders = {
        "k8s": copied,
        "k8s/external-redis": copied / "external-redis",
        "k8s with the component monitoring": beside(copied, "monitored", monitored),
        "k8s/external-redis with it": beside(copied, "both", "components: [../monitoring]\nresources: [../external-redis]\n"),
        "what k8s/make-secrets makes": copied / "own-redis",
        "what k8s/make-secrets external-redis makes": copied / "own-external-redis",
        "what make test-k8s applies": pathlib.Path(scratch) / ".ci/k8s",
    }
    found, renderings = [], {}
    for name, folder in folders.items():
        items = renderings[name] = rendered(folder)
        problems = wrong(items, VERSION)
        found += [f"{name}: {problem}" for problem in problems]
        print(f"{name}: {len(items)} objects, {len(problems) or 'nothing'} wrong")

    for name, items in renderings.items():
        secrets = [item for item in items if item["kind"] == "Secret"]
        held = [item for item in secrets if item.get("data") or item.get("stringData")]
        if bool(held) is not name.startswith("what k8s/make-secrets"):
            found.append(f"{name}: secrets for everybody to read, or none: {[title(item) for item in held]}")
    found += made_here(renderings["k8s"], pathlib.Path(scratch))

base = renderings["k8s with the component monitoring"]
for name, spoil in BREAKS.items():
    items = copy.deepcopy(base)
    spoil(items)
    if not wrong(items, VERSION):
        found.append(f"a rule is missing: nobody finds {name}")
print(f"{len(BREAKS)} mistakes made on purpose, {sum('a rule is missing' in what for what in found) or 'none'} not found")
sys.exit("\n".join(found) or 0)
