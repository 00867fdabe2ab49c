"""TLS contexts from the settings: our certificate, whom we trust, and a new certificate without a restart."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from sipsvc.errors import ConfigError
from sipsvc.observe import get_logger
from sipsvc.settings import TlsSettings

_WANTED = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class Tls:
    """`server` is for who comes to us, `client` for connections of ours; both TLS 1.2 or newer.

    We show our certificate to whomever we connect to, if asked for it, and require a valid one with the name of the
    gateway, or its address, of it (RFC 5922 §7).
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Reads the files. Raises ConfigError that names key, file and reason."""
        self._settings = settings
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._contexts = (self.server, self.client)
        for context in self._contexts:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.server.verify_mode = _WANTED[settings.client_certificate]
        if settings.client_ca:
            _trust(self.server, "sip.tls.client_ca", settings.client_ca)
        if settings.ca:
            _trust(self.client, "sip.tls.ca", settings.ca)
        else:
            self.client.load_default_certs()
        self._seen = self._written_at()
        self._load()

    def renew(self) -> None:
        """Connections from now on get the certificate as it is in its files now; one that cannot be read changes
        nothing and is logged."""
        written = self._written_at()
        if written == self._seen:
            return
        self._seen = written
        log = get_logger("transport")
        try:
            self._load()
        except ConfigError as error:
            where, file, reason = error.faults[0]
            log.error("certificate_not_renewed", key=where, file=file, reason=reason)
        else:
            log.info("certificate_renewed", file=self._settings.certificate)

    def _load(self) -> None:
        certificate, key = self._settings.certificate, self._settings.key
        if not certificate:
            return
        _has("sip.tls.certificate", certificate, b"-----BEGIN CERTIFICATE-----", "holds no PEM certificate")
        _has("sip.tls.key", key or certificate, b"PRIVATE KEY-----", "holds no PEM private key")
        # Tried on another context first, so that a fault leaves both of ours as they are.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *self._contexts):
            try:
                context.load_cert_chain(certificate, key or None, password="")
            except ssl.SSLError as error:
                if error.reason == "KEY_VALUES_MISMATCH":
                    raise ConfigError([("sip.tls.key", key, f"is not the key of {certificate}")]) from None
                reason = "cannot be read as PEM, or its key needs a password"
                raise ConfigError([("sip.tls.certificate", certificate, reason)]) from None

    def _written_at(self) -> tuple[int, ...]:
        files = (self._settings.certificate, self._settings.key)
        return tuple(os.stat(file).st_mtime_ns for file in files if file and os.path.exists(file))


def _has(where: str, file: str, mark: bytes, otherwise: str) -> None:
    try:
        found = mark in Path(file).read_bytes()
    except OSError as error:
        raise ConfigError([(where, file, error.strerror or "cannot be read")]) from None
    if not found:
        raise ConfigError([(where, file, otherwise)])


def _trust(context: ssl.SSLContext, where: str, file: str) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        raise ConfigError([(where, file, "holds no PEM certificates")]) from None
    except OSError as error:
        raise ConfigError([(where, file, error.strerror or "cannot be read")]) from None
