"""What every service can be told by environment variables (prefix `AFTERCARE_`); services add their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings that all services share. Each field's docstring is its line in `docs/settings.md`."""

    model_config = SettingsConfigDict(
        env_prefix="AFTERCARE_", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    """Where the bus is: `host:port`, several separated by commas."""
    kafka_username: str | None = None
    """SASL/SCRAM-SHA-512 user name; unset: no authentication."""
    kafka_password: SecretStr | None = None
    """SASL/SCRAM-SHA-512 password."""
    kafka_tls: bool = False
    """Speak TLS to the bus."""
    kafka_idempotence: bool = True
    """Idempotent producers. Off only for brokers that do not know them, such as the embedded one."""
    kafka_assigned: bool = False
    """Read all partitions directly instead of sharing them in a consumer group: a single replica, as embedded."""
    kafka_replication: Annotated[int, Field(ge=1, le=9)] = 1
    """Replicas of each topic that `aftercare topics apply` creates."""
    kafka_partitions: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Partitions of every topic instead of the declared number."""
    kafka_max_wait_ms: Annotated[int, Field(ge=1, le=5000)] = 100
    """How long the broker may hold back a fetch that has nothing to bring. The crisis pager always uses 10."""
    batch_records: Annotated[int, Field(ge=1, le=10_000)] = 500
    """The most events that one transaction settles."""
    dead_letter_limit: Annotated[int, Field(ge=1)] = 200
    """More refused records than this among the last 1,000 stop the consumer instead of draining the topic."""

    mongo_url: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0")
    """Where MongoDB is. It must be a replica set: every effect is one majority transaction."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,32}$")] = ""
    """Put before topics, consumer groups and databases, so that several stacks can share the engines."""

    http_host: str = "127.0.0.1"
    """The address to listen on."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port to listen on."""
    public_url: str = ""
    """The base of the links that this service puts into messages; its own address unless set."""
    token_secret: SecretStr | None = None
    """Development only: the secret with which `aftercare token` signs bearer tokens (HS256)."""
    oidc_issuer: str | None = None
    """The OIDC issuer whose bearer tokens are taken; its keys are found by discovery."""
    oidc_audience: str = "aftercare"
    """The audience that a bearer token must name."""
    master_key: SecretStr | None = None
    """Base64 of the 96 bytes under which the data keys of the field encryption are kept."""

    policy_file: Path | None = None
    """The policy to follow instead of the one that comes with the release: a file, or a folder with one for each
    version. Every service needs the same."""

    nice: Annotated[int, Field(ge=0, le=19)] = 5
    """How far this service stands back for others on the same machine, as `nice` counts: for the pager, and the bus."""
    log_level: str = "INFO"
    """The lowest level that is logged."""

    def topic(self, name: str) -> str:
        """A topic's name on the bus, in this stack's namespace."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def base_url(self) -> str:
        """What links to this service begin with."""
        return self.public_url.rstrip("/") or f"http://{self.http_host}:{self.http_port}"

    def group(self, service: str) -> str:
        """The consumer group of a service."""
        return self.topic(f"aftercare-{service}")

    def database(self, service: str) -> str:
        """The database that a service alone reads and writes."""
        return f"{self.namespace}-aftercare-{service}" if self.namespace else f"aftercare-{service}"
