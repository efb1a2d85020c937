"""A Hub on this machine, as far as huggingface_hub needs one to push a model and to load it by name and revision."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LoopbackHub:
    """Repositories in memory, behind HTTP, while the block lasts.

    Attributes:
        url: to be HF_ENDPOINT of whoever talks to it.
        repos: repository -> branch -> path -> content.
    """

    def __init__(self):
        self.repos = {}
        self.objects = {}  # LFS: sha256 -> content

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self):
        """What a process must be started with to talk to this Hub."""
        plain = {"HF_ENDPOINT": self.url, "HF_TOKEN": "x", "HF_HUB_OFFLINE": "0"}
        return plain | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def branch(self, repo, revision):
        """The name of a branch, given as itself or as the commit at its tip; None if there is none."""
        branches = self.repos.get(repo, {})
        return next((name for name in branches if revision in (name, self.commit(repo, name))), None)

    def commit(self, repo, branch):
        """The hash of what a branch holds."""
        files = self.repos[repo][branch]
        return hashlib.sha1(repr((branch, sorted(files.items()))).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, content=b"", status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, what):
        self.answer({"error": what}, 404, X_Error_Code=what, X_Error_Message=what)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self):  # noqa: N802 (the server calls it so)
        path, text = self.path.split("?")[0], self.body()
        if path == "/api/repos/create":
            asked = json.loads(text)
            repo = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            self.hub.repos.setdefault(repo, defaultdict(dict, main={}))
            return self.answer({"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if path.endswith(".git/info/lfs/objects/batch"):
            wanted = json.loads(text)["objects"]
            upload = {each["oid"]: {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}} for each in wanted}
            return self.answer({"objects": [{**each, "actions": upload[each["oid"]]} for each in wanted]})
        repo, verb, revision = re.fullmatch(r"/api/models/(.+)/(preupload|branch|commit)/([^/]+)", path).groups()
        if verb == "preupload":
            files = [file["path"] for file in json.loads(text)["files"]]
            modes = {file: "lfs" if file.endswith(".safetensors") else "regular" for file in files}
            return self.answer({"files": [{"path": f, "uploadMode": modes[f], "shouldIgnore": False} for f in files]})
        if verb == "branch":
            self.hub.repos[repo][revision].update(self.hub.repos[repo]["main"])
            return self.answer({})
        for line in filter(None, text.splitlines()):
            entry = json.loads(line)
            if entry["key"] == "file":
                content = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                content = self.hub.objects[entry["value"]["oid"]]
            else:
                continue
            self.hub.repos[repo][revision][entry["value"]["path"]] = content
        commit = self.hub.commit(repo, revision)
        self.answer({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}"})

    def do_PUT(self):  # noqa: N802
        self.hub.objects[self.path.removeprefix("/lfs/")] = self.body()
        self.answer()

    def do_GET(self):  # noqa: N802
        path = self.path.split("?")[0]
        if path == "/api/whoami-v2":
            return self.answer({"name": "user", "type": "user", "orgs": []})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(tree|revision)/([^/]+).*)?", path):
            repo, verb, revision = found[1], found[2], found[3] or "main"
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo, revision, verb = found[1], found[2], "resolve"
        else:
            return self.missing("RepoNotFound")
        if repo not in self.hub.repos:
            return self.missing("RepoNotFound")
        branch = self.hub.branch(repo, revision)
        if branch is None:
            return self.missing("RevisionNotFound")
        files, commit = self.hub.repos[repo][branch], self.hub.commit(repo, branch)
        if verb == "tree":
            return self.answer([{"type": "file", "path": name, "size": len(files[name]), "oid": ""} for name in files])
        if verb != "resolve":
            return self.answer({"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]})
        if found[3] not in files:
            return self.missing("EntryNotFound")
        content = files[found[3]]
        self.answer(content, X_Repo_Commit=commit, ETag=f'"{hashlib.sha256(content).hexdigest()}"')

    do_HEAD = do_GET  # noqa: N815
