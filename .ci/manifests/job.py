"""Runs the job of k8s/base/secrets.yaml, as its manifest has it, against a stand-in of the API server that lets it do what its
roles allow and nothing else: it must make what the annotations promise, change nothing the second time, and leave alone what
somebody has put there before. Needs openssl.
"""

import base64
import http.server
import json
import os
import ssl
import subprocess
import threading

PATHS = {"/api/v1/namespaces/bangui/secrets/bangui": ("Secret", "bangui"),
         "/api/v1/namespaces/bangui-agents/configmaps/workers": ("ConfigMap", "workers")}


class Server:
    """Two objects over HTTPS."""

    def __init__(self, folder):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
                        "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "tls.key", "-out",
                        folder / "ca.crt"], check=True, stderr=subprocess.DEVNULL)
        (folder / "token").write_text("the token of the account")
        self.folder, self.refused, self.patches = folder, [], 0
        self.objects = {path: {"metadata": {"resourceVersion": "1"}} for path in PATHS}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, change):
                there = outer.objects.get(self.path)
                if there is None or self.headers["authorization"] != "Bearer the token of the account":
                    outer.refused.append(f"{self.command} {self.path}")
                    return self.send_error(403)
                if change is not None:
                    if change["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
                        return self.send_error(409)
                    outer.patches += 1
                    there["metadata"]["resourceVersion"] += "1"
                    there.setdefault("data", {}).update(change["data"])
                body = json.dumps(there).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.answer(None)

            def do_PATCH(self):
                self.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "ca.crt", folder / "tls.key")
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def run(self, container):
        environment = {**os.environ, "ACCOUNT": str(self.folder), "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                       "KUBERNETES_SERVICE_PORT": str(self.http.server_address[1])}
        script = container["args"][0].replace('"/tmp', f'"{self.folder}/tmp')
        (self.folder / "tmp").mkdir(exist_ok=True)
        done = subprocess.run(["python3", "-c", script], env=environment,
                              capture_output=True, text=True)
        return done.stdout + done.stderr if done.returncode else None


def made_here(items, scratch):
    """What is wrong with it."""
    job = next(item for item in items if item["kind"] == "Job")
    container = job["spec"]["template"]["spec"]["containers"][0]
    promised = {(item["kind"], item["metadata"]["name"]): set(item["metadata"]["annotations"]["bangui/made-here"].split())
                for item in items if "bangui/made-here" in item["metadata"].get("annotations", {})}
    folder = scratch / "job"
    folder.mkdir()
    server = Server(folder)
    secret, config = (server.objects[path] for path in PATHS)
    # Somebody uses their own Redis.
    own = base64.b64encode(b"the password of a Redis of theirs").decode()
    example = base64.b64encode(b"replace-this-example-setup-token").decode()
    secret["data"] = {"redis-password": own, "setup-token": example}
    found = [f"the job of the secrets failed: {words}" for words in [server.run(container)] if words]
    if found:
        return found
    for path, title in PATHS.items():
        if set(server.objects[path].get("data", {})) != promised.get(title):
            found.append(f"the job makes {sorted(server.objects[path].get('data', {}))} of {title}, promised is {promised.get(title)}")
    values = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    if secret["data"]["redis-password"] != own:
        found.append("the job changed a secret that was there")
    if secret["data"]["setup-token"] == example or len(values["setup-token"]) < 24 or config["data"]["workers.crt"] != values["worker.crt"] or "KEY" in json.dumps(config):
        found.append("the job made a short token, or gave the agents something else than the workers' certificate")
    (folder / "c").write_text(values["worker.crt"])
    (folder / "k").write_text(values["worker.key"])
    keys = [subprocess.run(["openssl", *command], check=True, capture_output=True).stdout for command in
            (["x509", "-in", folder / "c", "-noout", "-pubkey"], ["pkey", "-in", folder / "k", "-pubout"])]
    if keys[0] != keys[1]:
        found.append("the job made a key that is not its certificate's")
    before, patches = json.dumps(server.objects), server.patches
    found += [f"the job of the secrets failed the second time: {words}" for words in [server.run(container)] if words]
    if json.dumps(server.objects) != before or server.patches != patches:
        found.append("the job changed something the second time")
    found += [f"the job did what its roles do not allow: {what}" for what in server.refused]
    print(f"the job made {', '.join(sorted(set().union(*promised.values())))} once, and left alone what was there")
    return found
