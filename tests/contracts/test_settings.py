"""Settings: where they come from, and what a wrong one says."""

from pathlib import Path

import pytest

from contracts.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("DATABASE_URL", "NATS_URL", "SLUICE_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


def _write(content: str) -> None:
    Path("sluice.toml").write_text(content)


def _backend(fields: str) -> str:
    return f'[[backends]]\nname = "a"\nkind = "vllm"\napi_key = "sk-very-secret"\n{fields}'


def test_defaults_are_the_documented_ports_on_loopback() -> None:
    settings = load_settings()

    assert (settings.gateway.host, settings.gateway.port) == ("127.0.0.1", 8080)
    assert (settings.nats.port, settings.nats.monitor_port) == (4222, 8222)
    assert (settings.postgres.port, settings.dagster.port) == (5432, 3000)


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    _write("[gateway]\nport = 9001\nmax_body_bytes = 2048\n")
    monkeypatch.setenv("SLUICE_GATEWAY_PORT", "9002")

    settings = load_settings()

    assert (settings.gateway.port, settings.gateway.max_body_bytes) == (9002, 2048)


def test_backends_have_the_default_addresses_of_their_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMPUTE_HOST", "compute.example")
    _write(
        "\n".join(
            f'[[backends]]\nname = "{kind}"\nkind = "{kind}"'
            for kind in ("vllm", "llamacpp", "lmstudio")
        )
    )

    assert [backend.base_url for backend in load_settings().backends] == [
        "http://compute.example:8000",
        "http://compute.example:8081",
        "http://compute.example:1234",
    ]


@pytest.mark.parametrize("url", ["http://host:1/v1/", "http://host:1/v1", "http://host:1/"])
def test_a_backends_url_is_taken_with_or_without_its_version(url: str) -> None:
    _write(f'[[backends]]\nname = "a"\nkind = "openai"\nurl = "{url}"')

    assert load_settings().backends[0].base_url == "http://host:1"


@pytest.mark.parametrize(
    ("content", "complaints"),
    [
        ("colour = 1", ["colour: unknown setting", "known here: ", "gateway"]),
        ("[gateway]\nprot = 1", ["gateway.prot: unknown setting", "port"]),
        ("[gateway]\nport = 99999", ["gateway.port = 99999", "65535"]),
        ('[gateway]\nport = "many"', ["gateway.port = 'many'", "integer"]),
        (
            '[[backends]]\nname = "a"\nkind = "vlm"',
            ["backends.0.kind = 'vlm'", "'vllm', 'llamacpp', 'lmstudio' or 'openai'"],
        ),
        ('[[backends]]\nname = "a"\nkind = "openai"', ["needs a url"]),
        ('[[backends]]\nname = "a"\nkind = "vllm"\nuri = "x"', ["backends.0.uri", "url"]),
        ("[gateway\nport = 1", ["no valid TOML"]),
        (
            '[routing]\nchoice = "random"',
            ["routing.choice = 'random'", "'least_busy' or 'weighted'"],
        ),
        ("[routing]\nattempts = 0", ["routing.attempts = 0", "greater than or equal to 1"]),
        (_backend("weight = 0"), ["backends.0.weight = 0", "greater than 0"]),
        (
            _backend('apis = ["chat", "completions"]'),
            ["backends.0.apis.1 = 'completions'", "'messages'"],
        ),
        (_backend("apis = []"), ["backends.0.apis", "at least 1"]),
        (_backend('models = [""]'), ["backends.0.models", "empty"]),
        (_backend("max_concurrency = 0"), ["backends.0.max_concurrency = 0"]),
        (_backend("max_queued = 5"), ["backends.0", "max_queued without max_concurrency"]),
        (
            _backend("queue_timeout_seconds = 5"),
            ["backends.0", "queue_timeout_seconds without max_concurrency"],
        ),
        (_backend('aliases = {a = ""}'), ["backends.0.aliases", "'a' = ''", "empty"]),
        (_backend('aliases = {a = "a"}'), ["backends.0.aliases", "alias of itself"]),
        (_backend('aliases = {a = "b*"}'), ["backends.0.aliases", "needs exactly one"]),
        (_backend('aliases = {"a*b*" = "*"}'), ["backends.0.aliases", "needs exactly one"]),
        (
            _backend('models = ["a"]\naliases = {a = "b"}'),
            ["backends.0", "'a' in models and in aliases"],
        ),
        (_backend("") + "\n" + _backend(""), ["backends: ", "2 backends have the name 'a'"]),
    ],
)
def test_a_wrong_setting_names_key_value_and_what_is_allowed(
    content: str, complaints: list[str]
) -> None:
    _write(content)

    with pytest.raises(SettingsError) as raised:
        load_settings()
    for complaint in complaints:
        assert complaint in str(raised.value)
    assert "sk-very-secret" not in str(raised.value)


def test_a_secret_is_not_repeated_in_a_complaint() -> None:
    _write('[[backends]]\nname = "a"\nkind = "vllm"\napi_key = ["sk-very-secret"]')

    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "api_key" in str(raised.value)
    assert "sk-very-secret" not in str(raised.value)


def test_a_missing_config_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_CONFIG", "elsewhere.toml")

    with pytest.raises(SettingsError, match=r"elsewhere\.toml"):
        load_settings()


def test_database_url_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@db:6000/platform")

    settings = load_settings()

    assert settings.sqlalchemy_url.startswith("postgresql+psycopg://me:secret@db:6000/platform?")
    assert settings.dagster_database_url.startswith("postgresql://me:secret@db:6000/dagster?")


def test_a_password_comes_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a/pass@word\n")
    monkeypatch.setenv("SLUICE_NATS_URL", "nats://gateway@nats:4222")
    monkeypatch.setenv("SLUICE_NATS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://sluice@db:5432/sluice?sslmode=require")
    monkeypatch.setenv("SLUICE_POSTGRES_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("SLUICE_LAKE_S3_SECRET_KEY_FILE", str(tmp_path / "password"))

    settings = load_settings()

    assert settings.nats_url == "nats://gateway:a%2Fpass%40word@nats:4222"
    assert settings.database_url.startswith(
        "postgresql://sluice:a%2Fpass%40word@db:5432/sluice?sslmode=require&"
    )
    assert settings.lake.s3_secret_key is not None
    assert settings.lake.s3_secret_key.get_secret_value() == "a/pass@word"


def test_a_password_in_the_url_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_POSTGRES_URL", "postgresql://sluice:given@db/sluice")
    monkeypatch.setenv("SLUICE_POSTGRES_PASSWORD_FILE", "/nowhere")

    assert load_settings().database_url.startswith("postgresql://sluice:given@db/sluice?")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('[nats]\npassword_file = "secret"', "needs a url that names the user"),
        ('[nats]\nurl = "nats://a@b:1"\npassword_file = "none"', "'none' cannot be read"),
        ('[nats]\nurl = "nats://a@b:1"\npassword_file = "empty"', "'empty' is empty"),
        ('[lake]\ns3_secret_key = "x"\ns3_secret_key_file = "secret"', "exclude each other"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_named(content: str, complaint: str) -> None:
    Path("secret").write_text("very-secret")
    Path("empty").write_text("\n")
    _write(content)

    with pytest.raises(SettingsError, match=complaint) as refused:
        load_settings()

    assert "very-secret" not in str(refused.value)
