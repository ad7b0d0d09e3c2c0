"""Requests to one registry: authorization, redirects, certificates."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

import urllib3

from nova_hyper import version
from nova_hyper.daemon.image.registry import challenge
from nova_hyper.daemon.image.registry.credentials import Credentials
from nova_hyper.daemon.image.registry.policy import RegistryPolicy
from nova_hyper.daemon.image.registry.reference import Reference, is_host
from nova_hyper.daemon.image.registry.tls import context_for
from nova_hyper.spec.errors import HyperError, RegistryDenied, RegistryFailed, RegistryUnavailable

_CONNECT_S = 10.0
_READ_S = 60.0
_MAX_REDIRECTS = 5
_MAX_TOKEN = 1 << 20
_TOKEN_S = 30.0
_REDIRECTS = (301, 302, 303, 307, 308)
_UNAUTHORIZED = (401, 403)
_OK = (200, 206)


class RegistrySession:
    """The requests of one pull; usable by several threads.

    :param credentials: None asks as nobody.
    """

    def __init__(
        self, reference: Reference, policy: RegistryPolicy, credentials: Credentials | None
    ) -> None:
        self._reference = reference
        self._policy = policy
        self._credentials = credentials
        self._lock = threading.Lock()
        self._authorization = ""
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()

    def get(self, path: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Return the answer, 200 or 206, to GET ``/v2/<repository>/<path>``; its body is unread.

        The caller releases or closes it.

        :raises RegistryUnavailable: when it may work later.
        :raises RegistryDenied: when the registry does not let us.
        :raises RegistryFailed: for anything else that is no such answer.
        """
        host = self._reference.host
        url = f"{self._policy.scheme(host)}://{host}/v2/{self._reference.repository}/{path}"
        authorization = self._authorization
        response = self._follow(url, headers, authorization)
        if response.status == 401:
            header = response.headers.get("WWW-Authenticate", "")
            response.close()
            response = self._follow(url, headers, self._authorize(header, authorization))
        if response.status in _OK:
            return response
        response.close()
        raise self._refusal(response.status, path)

    def _follow(self, url: str, headers: dict[str, str], authorization: str) -> Any:
        origin = urllib.parse.urlsplit(url).netloc
        for _ in range(_MAX_REDIRECTS + 1):
            # Whoever a registry sends us to has no business with what we told the registry.
            own = urllib.parse.urlsplit(url).netloc == origin
            extra = {"Authorization": authorization} if authorization and own else {}
            response = self._request(url, {**headers, **extra})
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            response.close()
            url = self._allowed(url, location, "sends us to")
        raise RegistryFailed(f"{self._reference.registry} redirects without an end")

    def _request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool(url).request(
                "GET",
                url,
                headers={
                    "User-Agent": f"nova-hyper/{version.release()}",
                    "Accept-Encoding": "identity",
                    **headers,
                },
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            )
        except urllib3.exceptions.SSLError as exc:
            raise self._untrusted(url, exc) from None
        except urllib3.exceptions.HTTPError as exc:
            host = urllib.parse.urlsplit(url).netloc
            raise RegistryUnavailable(
                f"the registry {host} does not answer ({_short(exc)})"
            ) from None

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urllib.parse.urlsplit(url)
        key = (parts.scheme, parts.netloc)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = self._new_pool(*key)
            return pool

    def _new_pool(self, scheme: str, host: str) -> urllib3.PoolManager:
        if scheme == "http":
            return urllib3.PoolManager(maxsize=self._policy.downloads)
        context = context_for(host, self._policy.ca_directory)
        proxy = urllib.request.getproxies().get("https")
        name = urllib.parse.urlsplit(f"//{host}").hostname or host
        if proxy and not urllib.request.proxy_bypass(name):
            return urllib3.ProxyManager(proxy, ssl_context=context, maxsize=self._policy.downloads)
        return urllib3.PoolManager(ssl_context=context, maxsize=self._policy.downloads)

    def _allowed(self, base: str, given: str, what: str) -> str:
        """Return the URL that *given*, of a registry, is at *base*, when it is one to go to.

        :raises RegistryFailed: when it leads away from TLS, or is none.
        """
        own = self._reference.host
        try:
            url = urllib.parse.urljoin(base, given)
            parts = urllib.parse.urlsplit(url)
        except ValueError:  # brackets that are no address
            url, parts = given, urllib.parse.SplitResult("", "", "", "", "")
        same = parts.netloc == own and parts.scheme == self._policy.scheme(own)
        if not is_host(parts.netloc) or not (same or parts.scheme == "https"):
            raise RegistryFailed(
                f"the registry {self._reference.registry} {what} {url[:200]}, which is not "
                "reached by HTTPS; that is refused"
            )
        return url

    # Authorization

    def _authorize(self, header: str, refused: str) -> str:
        """Return the Authorization that *header* asks for, as *refused* was not enough."""
        with self._lock:
            if self._authorization != refused:
                # Another thread has a newer one.
                return self._authorization
        schemes = challenge.parse(header)
        if "bearer" in schemes:
            made = f"Bearer {self._token(schemes['bearer'])}"
        elif "basic" in schemes and self._credentials and not refused:
            made = self._basic(self._credentials)
        else:
            raise self._denied()
        with self._lock:
            self._authorization = made
        return made

    def _basic(self, credentials: Credentials) -> str:
        pair = f"{credentials.username}:{credentials.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _token(self, parameters: dict[str, str]) -> str:
        """Ask the registry's token server (docker's "token authentication specification")."""
        realm = self._allowed("", parameters.get("realm", ""), "wants a token from")
        query = {"scope": f"repository:{self._reference.repository}:pull"}
        if parameters.get("service"):
            query["service"] = parameters["service"]
        headers = {}
        if self._credentials:
            headers["Authorization"] = self._basic(self._credentials)
        url = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(query)}"
        response = self._request(url, headers)
        try:
            if response.status in _UNAUTHORIZED:
                raise self._denied()
            if response.status != 200:
                raise self._refusal(response.status, "its token server")
            data = json.loads(self._short_body(response))
            token = data.get("token") or data.get("access_token")
            if not isinstance(token, str) or not token.isprintable():
                raise ValueError
        except (ValueError, AttributeError):
            raise RegistryFailed(
                f"the token server of {self._reference.registry} answers with no token"
            ) from None
        except urllib3.exceptions.HTTPError as exc:
            raise RegistryUnavailable(
                f"the token server does not answer ({_short(exc)})"
            ) from None
        finally:
            response.close()
        return token

    def _short_body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        body = b""
        deadline = time.monotonic() + _TOKEN_S
        while len(body) < _MAX_TOKEN and (part := response.read1(_MAX_TOKEN - len(body))):
            body += part
            if time.monotonic() > deadline:
                raise RegistryUnavailable(
                    f"the token server of {self._reference.registry} takes more than "
                    f"{_TOKEN_S:g} s to answer"
                )
        return body

    # Errors

    def _denied(self) -> RegistryDenied:
        registry = self._reference.registry
        if self._credentials:
            return RegistryDenied(
                f"the registry {registry} refuses the user name or password, or this user may "
                f"not pull {self._reference.repository}"
            )
        return RegistryDenied(
            f"the registry {registry} wants a user name and password for "
            f"{self._reference.repository} (or there is no such image); give them with the "
            "request, or in [image] registry_auth_file of hyperd"
        )

    def _refusal(self, status: int, what: str) -> HyperError:
        if status in _UNAUTHORIZED:
            return self._denied()
        if status == 404:
            return RegistryFailed(
                f"the registry {self._reference.registry} has no {self._reference.repository} "
                f"with {what}",
            )
        if status == 429 or status >= 500:
            return RegistryUnavailable(
                f"the registry {self._reference.registry} answers with status {status}"
                + (" (too many requests)" if status == 429 else "")
            )
        return RegistryFailed(
            f"the registry {self._reference.registry} answers {what} with status {status}"
        )

    def _untrusted(self, url: str, exc: Exception) -> RegistryFailed:
        host = urllib.parse.urlsplit(url).netloc
        return RegistryFailed(
            f"the certificate of {host} is not trusted ({_short(exc)}); put that of its authority "
            f"into [image] registry_ca_directory of hyperd, as {host}/ca.crt"
        )


def _short(exc: Exception) -> str:
    """Return the core of one of urllib3's messages, which wrap each other."""
    inner = exc.args[-1] if exc.args else exc
    while isinstance(inner, Exception) and inner.args:
        inner = inner.args[-1]
    text = str(inner).rpartition(">: ")[2]
    return text[:200] or type(exc).__name__
