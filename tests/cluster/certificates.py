"""Keys, certificates and kubeconfigs of a cluster, made with the openssl program (3.0 or newer)."""

import base64
import json
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

_CONFIG = "[req]\ndistinguished_name = none\n[none]\n"
_AUTHORITY = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")
_LEAF = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=clientAuth,serverAuth",
    "authorityKeyIdentifier=keyid:always",
)


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode:
        raise ClusterError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")


@dataclass(frozen=True)
class Certificates:
    """A folder of PEM files: NAME.crt, NAME.key. Everything is made once; what exists is left as it is."""

    folder: Path

    def certificate(self, name: str) -> Path:
        """The file that holds the certificate of that name."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The file that holds the key of that name."""
        return self.folder / f"{name}.key"

    def authority(self, name: str) -> None:
        """Make a certificate authority."""
        self._make(name, f"/CN={name}", _AUTHORITY)

    def issue(self, name: str, subject: str, *, authority: str = "ca", names: tuple[str, ...] = ()) -> None:
        """Make a certificate for clients and servers; `names` are subject alternative names, `IP:…` or `DNS:…`."""
        extensions = (*_LEAF, *([f"subjectAltName={','.join(names)}"] if names else []))
        signer = ("-CA", self.certificate(authority), "-CAkey", self.key(authority))
        self._make(name, subject, extensions, *signer)

    def signing_key(self, name: str) -> None:
        """Make a bare key pair (NAME.key, NAME.pub), as service account tokens are signed with."""
        public = self.folder / f"{name}.pub"
        if not public.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key(name))
            _openssl("ec", "-in", self.key(name), "-pubout", "-out", public)

    def _make(self, name: str, subject: str, extensions: tuple[str, ...], *signer: str | Path) -> None:
        if self.certificate(name).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "openssl.cnf"
        if not config.exists():
            config.write_text(_CONFIG)
        beside = self.certificate(name).with_suffix(".new")
        _openssl(
            *("req", "-x509", "-config", config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self.key(name), "-out", beside, "-subj", subject, "-days", "3650"),
            *("-set_serial", f"0x{secrets.token_hex(8)}", "-addext", "subjectKeyIdentifier=hash"),
            *(word for extension in extensions for word in ("-addext", extension)),
            *signer,
        )
        beside.rename(self.certificate(name))

    def write_kubeconfig(self, file: Path, user: str, server: str) -> None:
        """Write a kubeconfig that needs no other file; `user` names the client certificate."""

        def embedded(path: Path) -> str:
            return base64.b64encode(path.read_bytes()).decode()

        client = {
            "client-certificate-data": embedded(self.certificate(user)),
            "client-key-data": embedded(self.key(user)),
        }
        cluster = {"server": server, "certificate-authority-data": embedded(self.certificate("ca"))}
        name = "image-service-test"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": client}],
        }
        beside = file.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_text(json.dumps(content, indent=1))
        beside.rename(file)
