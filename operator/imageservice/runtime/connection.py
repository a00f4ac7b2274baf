"""How to reach the API server: address, TLS and a token that stays fresh, for every HTTP session of the process."""

import os
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from imageservice.runtime.metrics import package_version

READ_BUFFER_BYTES = 2**20
TLS_BUFFER_BYTES = 2**16
"""Four times what a record of TLS holds (RFC 8446, section 5.1)."""

_Load = Callable[[], Awaitable[Configuration]]


class NoCluster(Exception):  # noqa: N818 - what is missing, in the words of the message
    """No API server is configured, or its configuration cannot be read."""


class Connection:
    """One API server and the identity used there; makes HTTP sessions that carry it.

    The token of a service account is read again every minute, as the kubelet renews the file. `load` reads the
    configuration anew.
    """

    def __init__(self, configuration: Configuration, load: _Load) -> None:
        self.configuration = configuration
        self._load = load

    @classmethod
    async def open(cls, kubeconfig: str | None = None, context: str | None = None) -> "Connection":
        """Use `kubeconfig` (default: $KUBECONFIG) if there is one, else the service account of this pod.

        Raise NoCluster where there is neither. `~/.kube/config` is not looked at: an operator must not act on
        whichever cluster somebody looked at last.
        """
        path = kubeconfig or os.environ.get("KUBECONFIG")
        if path is None and context is not None:
            raise NoCluster("A context was named, but no kubeconfig: use --kubeconfig or $KUBECONFIG.")
        if path is not None and not _is_there(path):
            raise NoCluster(f"There is no kubeconfig at {path}.")

        async def load() -> Configuration:
            configuration = Configuration()
            try:
                if path is None:
                    kubernetes_config.load_incluster_config(client_configuration=configuration)
                else:
                    await kubernetes_config.load_kube_config(
                        config_file=path, context=context, client_configuration=configuration, persist_config=False
                    )
            except kubernetes_config.ConfigException as error:
                hint = "" if path else " Outside of a cluster, use --kubeconfig or $KUBECONFIG."
                raise NoCluster(f"Cannot find out how to reach the API server: {error}{hint}") from None
            return configuration

        return cls(await load(), load)

    @property
    def server(self) -> str:
        """The URL of the API server, without a slash at its end."""
        return str(self.configuration.host).rstrip("/")

    async def renew(self) -> None:
        """Read the credentials anew: they were refused."""
        self.configuration = await self._load()

    def session(
        self,
        *,
        connections: int,
        traces: tuple[aiohttp.TraceConfig, ...] = (),
        response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse,
        middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (),
    ) -> aiohttp.ClientSession:
        """Return a new session with at most that many connections (0: no limit)."""
        tls = RESTClientObject(self.configuration).ssl_context
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": f"image-service-operator/{package_version()}",
                "Accept": "application/json",
                # The API server would compress lists beyond 128 KiB, which takes longer than a network near to it.
                "Accept-Encoding": "identity",
            },
            proxy=self.configuration.proxy,
            read_bufsize=READ_BUFFER_BYTES,
            response_class=response_class,
            trace_configs=list(traces),
            middlewares=(self._authorize, *middlewares),
        )

    async def _authorize(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Add the token to a request, and the name that the certificate of the server is for where that differs."""
        token = await self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            request.headers["Authorization"] = token
        if self.configuration.tls_server_name:
            request.server_hostname = self.configuration.tls_server_name
        return await send(request)


def keep_tls_buffers_small() -> None:
    """Give each TLS connection made from now on a buffer of TLS_BUFFER_BYTES.

    asyncio gives each 256 KiB as long as it lives, and has no parameter for it: 5 MiB in a process that holds a watch
    of each kind and its connections for requests.
    """
    SSLProtocol.max_size = TLS_BUFFER_BYTES


def _is_there(kubeconfig: str) -> bool:
    """Tell whether any of the files in the list (as in $KUBECONFIG) exists."""
    return any(Path(part).expanduser().is_file() for part in kubeconfig.split(os.pathsep) if part)
