"""A bundle is taken whole, or refused with every fault, each with its place and reason."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from hashlib import md5, sha256
from pathlib import Path

import pytest

from sipsvc.errors import ConfigError
from sipsvc.store.bundle import load_bundle
from sipsvc.store.sections import Gateway

from .conftest import BUNDLE, COVERAGE, PRICES

Write = Callable[..., Path]
DEMO = Path(__file__).parents[2] / "config" / "demo" / "demo.toml"


def faults_of(path: Path) -> list[tuple[str, object, str]]:
    with pytest.raises(ConfigError) as caught:
        load_bundle(path)
    assert "secret" not in str(caught.value)
    return caught.value.faults


def changed(old: str, new: str) -> str:
    assert BUNDLE.count(old) >= 1
    return BUNDLE.replace(old, new, 1)


def in_customer(text: str) -> str:
    return changed('name = "Acme"\n', f'name = "Acme"\n{text}\n')


def in_gateway(text: str) -> str:
    return changed('host = "198.51.100.1"\n', f'host = "198.51.100.1"\n{text}\n')


def in_list(text: str) -> str:
    return changed('name = "Retail"\n', f'name = "Retail"\n{text}\n')


ACME = 'username = "acme"\npassword = "secret"\n'
HARBOUR = 'source = "192.0.2.0/24"\n'
SHOWN = "ab" * 32
SECOND = '[[customer.trunk]]\nid = "t2"\n'

TOML_FAULTS = [
    ("[platform", "bundle", "is not TOML"),
    (changed('realm = "here"', 'realm = "he\\u0000re"'), "platform.realm", "control character U+0000"),
    (changed('realm = "here"', "t1_ms = 0"), "platform.t1_ms", "greater than or equal to 1"),
    (changed('realm = "here"', "t1_ms = 5000"), "platform.t2_ms", "must not be below t1_ms"),
    (changed('realm = "here"', "max_call_s = -1"), "platform.max_call_s", "greater than or equal to 1"),
    (changed('realm = "here"', "durable_wait_ms = 0"), "platform.durable_wait_ms", "greater than or equal to 1"),
    (changed('realm = "here"', "min_se_s = 89"), "platform.min_se_s", "greater than or equal to 90"),
    (changed('realm = "here"', "session_expires_s = 89"), "platform.session_expires_s", "0 or not below min_se_s"),
    (changed('realm = "here"', "rates = {usd = '1'}"), "platform.rates.usd.[key]", "ISO 4217"),
    (changed('realm = "here"', "rates = {USD = 1.5}"), "platform.rates.USD", "must be text"),
    (changed('realm = "here"', "rates = {USD = '0.0'}"), "platform.rates.USD", "above 0"),
    (changed('realm = "here"', "t5_ms = 1"), "platform.t5_ms", "unknown key"),
    (changed('name = "Partner"', ""), "partner.name", "is missing"),
    (changed('name = "Partner"', 'name = " "'), "partner.name", "is empty"),
    (changed('name = "Acme"', 'name = "Ac\\nme"'), "customer[0].name", "control character U+000A"),
    (changed('name = "Acme"', 'name = "Ac\\u0085me"'), "customer[0].name", "control character U+0085"),
    (changed('id = "acme"', 'id = "Acme!"'), "customer[0].id", "must be 1 to 64 of"),
    (changed('id = "harbour"', 'id = "acme"'), "customer[1].id", "is already used by customer[0]"),
    (
        changed('id = "harbour-pbx"', 'id = "acme-pbx"'),
        "customer[1].trunk[0].id",
        "already used by customer[0].trunk[0]",
    ),
    (changed('id = "beta"', 'id = "alpha"'), "gateway[1].id", "is already used by gateway[0]"),
    (BUNDLE + '[[pricelist]]\nid = "retail"\nname = "x"\nrows = "prices.csv"', "pricelist[1].id", "already used"),
    (changed('pricelist = "retail"', 'pricelist = "gold"'), "customer[0].pricelist", "no such price list"),
    (in_customer('status = "asleep"'), "customer[0].status", "'trial', 'active', 'suspended' or 'closed'"),
    (in_customer("max_channels = true"), "customer[0].max_channels", "valid integer"),
    (in_customer("max_cps = 1.5"), "customer[0].max_cps", "valid integer"),
    (in_customer("busy_status = 600"), "customer[0].busy_status", "486 or 503"),
    (in_customer("spend_cap_day = 5"), "customer[0].spend_cap_day", "money is text"),
    (in_customer('credit_limit = "-5"'), "customer[0].credit_limit", "must not be negative"),
    (in_customer("prepaid = 1"), "customer[0].prepaid", "valid boolean"),
    (in_customer("low_balance = 5"), "customer[0].low_balance", "money is text"),
    (in_customer('time_zone = "Mars/Olympus"'), "customer[0].time_zone", "no time zone"),
    (in_customer('funds = "5"'), "customer[0].funds", "unknown key"),
    (in_customer("max_channels = -1"), "customer[0].max_channels", "greater than or equal to 0"),
    (in_customer("allow_expensive = 1"), "customer[0].allow_expensive", "valid boolean"),
    (in_customer("chanels = 1"), "customer[0].chanels", "unknown key"),
    (in_customer('dial_plan = {national = "0"}'), "customer[0].dial_plan.country", "needed where national is set"),
    (in_customer('dial_plan = {bare = "national"}'), "customer[0].dial_plan.bare", "needs country"),
    (in_customer('dial_plan = {country = "044"}'), "customer[0].dial_plan.country", "a country code"),
    (in_customer('dial_plan = {international = ["+"]}'), "customer[0].dial_plan.international[0]", "digits only"),
    (in_customer('caller_ids = {allowed = ["44*2"]}'), "customer[0].caller_ids.allowed[0]", "must be digits"),
    (in_customer('caller_ids = {otherwise = "default"}'), "customer[0].caller_ids.otherwise", "needs a default"),
    (in_customer("caller_ids = {diversion = 1}"), "customer[0].caller_ids.diversion", "valid boolean"),
    (changed(ACME, ACME + SECOND + ACME), "customer[0].trunk[1].username", "already used by customer[0].trunk[0]"),
    (changed(ACME, ""), "customer[0].trunk[0]", "needs either source or username"),
    (changed(ACME, ACME + 'source = "10.0.0.1"\n'), "customer[0].trunk[0]", "has both source and username"),
    (changed(ACME, 'username = "acme"\n'), "customer[0].trunk[0]", "needs either password or ha1_md5"),
    (changed(ACME, ACME + f'ha1_md5 = "{"a" * 32}"\n'), "customer[0].trunk[0]", "needs either password or ha1_md5"),
    (changed(ACME, 'username = "acme"\nha1_md5 = "secret"\n'), "customer[0].trunk[0].ha1_md5", "32 lower-case hex"),
    (changed(ACME, 'username = "acme"\nha1_sha256 = "AB"\n'), "customer[0].trunk[0].ha1_sha256", "64 lower-case hex"),
    (changed('realm = "here"', 'digest = ["SHA-1"]'), "platform.digest[0]", "'SHA-256' or 'MD5'"),
    (changed('realm = "here"', "digest = []"), "platform.digest", "at least 1 item"),
    (changed('realm = "here"', 'digest = ["MD5", "MD5"]'), "platform.digest", "stands twice"),
    (changed(ACME, ACME + 'algorithms = ["md5"]\n'), "customer[0].trunk[0].algorithms[0]", "'SHA-256' or 'MD5'"),
    (
        changed(ACME, ACME + 'algorithms = ["SHA-256"]\n').replace('realm = "here"', 'digest = ["MD5"]'),
        "customer[0].trunk[0].algorithms",
        "that the platform offers (MD5) this trunk can use none",
    ),
    (
        changed(ACME, f'username = "acme"\nha1_md5 = "{"a" * 32}"\nalgorithms = ["SHA-256"]\n'),
        "customer[0].trunk[0].algorithms",
        "this trunk can use none",
    ),
    (changed(HARBOUR, HARBOUR + 'algorithms = ["MD5"]\n'), "customer[1].trunk[0]", "algorithms go with a username"),
    (changed(HARBOUR, HARBOUR + 'tech_prefix = "5a"\n'), "customer[1].trunk[0].tech_prefix", "16 digits, * or #"),
    (changed(ACME, ACME + 'tech_prefix = "5"\n'), "customer[0].trunk[0]", "tech_prefix goes with source"),
    (
        changed(HARBOUR, HARBOUR + 'tech_prefix = "5"\n' + SECOND + HARBOUR + 'tech_prefix = "5"\n'),
        "customer[1].trunk[1].source",
        "with port any and tech prefix 5 is already the source of customer[1].trunk[0]",
    ),
    (changed(HARBOUR, 'certificate = "AB"\n'), "customer[1].trunk[0].certificate", "64 lower-case hexadecimal digits"),
    (changed(HARBOUR, f'{HARBOUR}certificate = "{SHOWN}"\n'), "customer[1].trunk[0]", "both source and certificate"),
    (
        changed(HARBOUR, f'certificate = "{SHOWN}"\n{SECOND}certificate = "{SHOWN}"\n'),
        "customer[1].trunk[1].certificate",
        "already used by customer[1].trunk[0]",
    ),
    (changed(ACME, ACME.replace("acme", "a:b")), "customer[0].trunk[0].username", "without space, colon"),
    (changed(ACME, ACME.replace('"secret"', '"secret\\u0007"')), "customer[0].trunk[0].password", "U+0007"),
    (changed(ACME, ACME.replace('"secret"', "5")), "customer[0].trunk[0].password", "valid string"),
    (changed(HARBOUR, HARBOUR + 'password = "secret"\n'), "customer[1].trunk[0]", "go with a username"),
    (changed(HARBOUR, HARBOUR + SECOND + HARBOUR), "customer[1].trunk[1].source", "port any is already the source"),
    (changed(HARBOUR, HARBOUR.replace(".0/24", ".1/24")), "customer[1].trunk[0].source", "network is 192.0.2.0/24"),
    (changed(HARBOUR, 'source = "pbx.example"\n'), "customer[1].trunk[0].source", "an address or a network"),
    (changed(HARBOUR, 'source = "::ffff:1.2.3.4"\n'), "customer[1].trunk[0].source", "written as IPv4"),
    (
        changed(HARBOUR, 'source = "198.51.100.1"\nport = 5060\n'),
        "customer[1].trunk[0].source",
        "with port 5060 is the address of gateway[0]",
    ),
    (
        changed(HARBOUR, 'source = "198.51.100.1"\nport = 5061\n').replace(
            'host = "198.51.100.1"', 'host = "198.51.100.1"\ntransport = "tls"'
        ),
        "customer[1].trunk[0].source",
        "with port 5061 is the address of gateway[0]",
    ),
    (changed('host = "198.51.100.1"', 'host = "carrier"'), "gateway[0].host", "a host name with its domain"),
    (changed('host = "198.51.100.1"', 'host = "198.51.100.256"'), "gateway[0].host", "must be an IP address"),
    (changed('host = "198.51.100.1"', 'host = "_sip._udp.x.net"'), "gateway[0].host", "a host name with its domain"),
    (changed('host = "198.51.100.1"', f'host = "{"a." * 126}net"'), "gateway[0].host", "at most 253 characters"),
    (in_gateway('transport = "UDP"'), "gateway[0].transport", "'udp', 'tcp' or 'tls'"),
    (in_gateway("max_channels = -1"), "gateway[0].max_channels", "greater than or equal to 0"),
    (in_gateway("max_cps = -1"), "gateway[0].max_cps", "greater than or equal to 0"),
    (in_gateway("weight = -1"), "gateway[0].weight", "greater than or equal to 0"),
    (in_gateway('schedule = ["mon 08:00-20:00"]'), "gateway[0].schedule[0]", "days, hours and a time zone"),
    (in_gateway('schedule = ["mon 08:00-20:00 Here/There"]'), "gateway[0].schedule[0]", "is no time zone"),
    (in_gateway('tcp_if_large = "yes"'), "gateway[0].tcp_if_large", "valid boolean"),
    (in_gateway('auth_username = "acme"'), "gateway[0].auth_password", "is needed with auth_username"),
    (in_gateway('auth_password = "secret"'), "gateway[0].auth_password", "goes with auth_username"),
    (in_gateway('auth_realm = "carrier"'), "gateway[0].auth_realm", "goes with auth_username"),
    (in_gateway('auth_username = "a:b"\nauth_password = "x"'), "gateway[0].auth_username", "without space, colon"),
    (in_gateway('auth_username = "a"\nauth_password = "x\\n"'), "gateway[0].auth_password", "control character"),
    (changed('host = "198.51.100.1"', 'host = "[::1]"'), "gateway[0].host", "without brackets"),
    (changed('host = "198.51.100.1"', 'host = "0.0.0.0"'), "gateway[0].host", "of one host"),
    (in_gateway("port = -1"), "gateway[0].port", "greater than or equal to 0"),
    (in_gateway("port = 65536"), "gateway[0].port", "less than or equal to 65535"),
    (in_gateway('port = "5060"'), "gateway[0].port", "valid integer"),
    (in_gateway('currency = "usd"'), "gateway[0].currency", "ISO 4217"),
    (changed('id = "beta"', 'id = "Beta"'), "gateway[1].id", "must be 1 to 64 of"),
    (changed('name = "Alpha"', 'name = "Al\\u2028pha"'), "gateway[0].name", "control character U+2028"),
    (in_gateway('priority = "1"'), "gateway[0].priority", "valid integer"),
    (in_gateway("enabled = 1"), "gateway[0].enabled", "valid boolean"),
    (in_gateway('trusted = "no"'), "gateway[0].trusted", "valid boolean"),
    (in_gateway("remote_party_id = 0"), "gateway[0].remote_party_id", "valid boolean"),
    (in_gateway('p_asserted_identity = "always"'), "gateway[0].p_asserted_identity", "valid boolean"),
    (in_gateway("uri_prefix_escaped = 1"), "gateway[0].uri_prefix_escaped", "valid boolean"),
    (in_gateway('plus_in_caller = "+"'), "gateway[0].plus_in_caller", "valid boolean"),
    (in_gateway("diversion = 1"), "gateway[0].diversion", "valid boolean"),
    (in_gateway(f'caller_prefix = "{"7" * 33}"'), "gateway[0].caller_prefix", "at most 32 characters"),
    (in_gateway(f'uri_prefix = "{"9" * 33}"'), "gateway[0].uri_prefix", "at most 32 characters"),
    (in_gateway('uri_prefix_escaped = false\nuri_prefix = "é"'), "gateway[0].uri_prefix", "visible ASCII"),
    (in_gateway("hunt_codes = [503, 486]"), "gateway[0].hunt_codes", "486 is never hunted on"),
    (in_gateway("hunt_codes = [603]"), "gateway[0].hunt_codes", "603 is never hunted on"),
    (in_gateway("provisional_timeout_ms = 0"), "gateway[0].provisional_timeout_ms", "greater than or equal to 1"),
    (in_gateway("ring_timeout_s = 0"), "gateway[0].ring_timeout_s", "greater than or equal to 1"),
    (in_gateway("ping_interval_s = 3601"), "gateway[0].ping_interval_s", "less than or equal to 3600"),
    (in_gateway("down_after = 0"), "gateway[0].down_after", "greater than or equal to 1"),
    (in_gateway("up_after = 101"), "gateway[0].up_after", "less than or equal to 100"),
    (in_gateway("registration = 1"), "gateway[0].registration", "valid boolean"),
    (in_gateway("registration = true"), "gateway[0].registration", "goes with auth_username"),
    (in_gateway("registration_expires_s = 59"), "gateway[0].registration_expires_s", "greater than or equal to 60"),
    (in_gateway('caller_prefix = "<x>"'), "gateway[0].caller_prefix", "must be letters, digits"),
    (in_gateway('caller_prefix_in = ["to"]'), "gateway[0].caller_prefix_in[0]", "'from', 'pai' or 'rpid'"),
    (in_gateway('uri_prefix_escaped = false\nuri_prefix = "9@"'), "gateway[0].uri_prefix", "as it stands"),
    (in_gateway('uri_prefix = "9\\r"'), "gateway[0].uri_prefix", "control character U+000D"),
    (changed("pattern = '^44'", "pattern = '4(?=4)'"), "gateway[0].rewrite[0].pattern", "(at character 2)"),
    (changed("replacement = '0'", r"replacement = '\1'"), "gateway[0].rewrite[0].replacement", "has 0 groups"),
    (changed('coverage = "coverage.csv"', 'coverage = "no.csv"'), "gateway[0].coverage", "no such file"),
    (changed('coverage = "coverage.csv"', ""), "gateway[0].coverage", "is missing"),
    (in_list("minimum = 0.01"), "pricelist[0].minimum", "money is text"),
    (in_list("minimum = 0"), "pricelist[0].minimum", "money is text"),
    (in_list('minimum = "-0.01"'), "pricelist[0].minimum", "must not be negative"),
    (in_list('expensive_at = "0.1234567"'), "pricelist[0].expensive_at", "more than 6 decimal places"),
    (in_list('expensive_at = "1,000.00"'), "pricelist[0].expensive_at", "not an amount"),
    (in_list('expensive_at = "1e3"'), "pricelist[0].expensive_at", "not an amount"),
    (in_list('expensive_at = "100000000"'), "pricelist[0].expensive_at", "below 100000000"),
    (in_list("initial = 0"), "pricelist[0].initial", "greater than or equal to 1"),
    (in_list("increment = 86401"), "pricelist[0].increment", "less than or equal to 86400"),
    (in_list('strategy = "best"'), "pricelist[0].strategy", "'cheapest', 'priority' or 'weight'"),
    (changed('prefix = "1900"', 'prefix = "+1900"'), "block[0].prefix", "digits only"),
    (changed('reason = "premium"', 'reason = ""'), "block[0].reason", "is empty"),
    (BUNDLE + '[[block]]\nprefix = "1900"\nreason = "again"', "block[1].prefix", "already used by block[0]"),
    (BUNDLE + "[blocks]", "blocks", "unknown key"),
    (BUNDLE.replace("[[block]]", "[block]"), "block", "must be tables headed [[block]]"),
]


@pytest.mark.rule("SIP-5", "SIP-20", "SIP-30")
@pytest.mark.parametrize(("toml", "where", "why"), TOML_FAULTS, ids=lambda value: value if len(value) < 50 else "")
def test_a_fault_in_the_toml(write_bundle: Write, toml: str, where: str, why: str) -> None:
    faults = faults_of(write_bundle(toml))
    assert [fault[0] for fault in faults] == [where]
    assert why in faults[0][2]


@pytest.mark.rule("SIP-29", "TG-2", "TG-3", "TG-4", "TG-5", "TG-6")
def test_every_setting_of_a_gateway_has_a_fault_that_names_it() -> None:
    named = {where.removeprefix("gateway[").partition("].")[2] for _, where, _ in TOML_FAULTS if "gateway[" in where}
    assert {name.partition(".")[0].partition("[")[0] for name in named if name} == set(Gateway.model_fields)


HEAD = "prefix,name,rate,fee,initial,increment,origin\n"
CSV_FAULTS: list[tuple[str | bytes, str, str]] = [
    ("", "prices.csv", "is empty"),
    ("prefix,rate\n44,1\n", "prices.csv row 1", "column name is missing"),
    ("prefix,name,rate,color\n", "prices.csv row 1 column 4", "unknown column"),
    ("prefix,name,rate,rate\n", "prices.csv row 1 column 4", "stands twice"),
    ("prefix,name,rate,a;b\n", "prices.csv row 1 column 4", "unknown column"),
    (PRICES + "33,Congo, Democratic Republic,0.1\n", "prices.csv row 4", "has 4 cells, the first row has 3"),
    (PRICES + "33,France\n", "prices.csv row 4", "has 2 cells"),
    (PRICES + '33,"Fra"nce,0.1\n', "prices.csv row 4", "is not CSV"),
    (PRICES + '33,"France,0.1\n', "prices.csv row 4", "is not CSV"),
    (PRICES + "+33,France,0.1\n", "prices.csv row 4 column prefix", "digits only"),
    (PRICES + "0033,France,0.1\n", "prices.csv row 4 column prefix", "never begins with 0"),
    (PRICES + ",France,0.1\n", "prices.csv row 4 column prefix", "is empty"),
    (PRICES + "٣٣,France,0.1\n", "prices.csv row 4 column prefix", "digits only"),
    (PRICES + "1" * 19 + ",France,0.1\n", "prices.csv row 4 column prefix", "longer than 18 digits"),
    (PRICES + "33,Fra\x07nce,0.1\n", "prices.csv row 4 column name", "control character U+0007"),
    (PRICES + "33,France,\n", "prices.csv row 4 column rate", "is empty"),
    (PRICES + "33,France,-0.1\n", "prices.csv row 4 column rate", "must not be negative"),
    (PRICES + "33,France,0.0123456\n", "prices.csv row 4 column rate", "more than 6 decimal places"),
    (PRICES + '33,France,"0,1"\n', "prices.csv row 4 column rate", "is not an amount"),
    (PRICES + "33,France,NaN\n", "prices.csv row 4 column rate", "is not an amount"),
    (HEAD + "33,France,0.1,x,,,\n", "prices.csv row 2 column fee", "is not an amount"),
    (HEAD + "33,France,0.1,,0,,\n", "prices.csv row 2 column initial", "whole seconds from 1"),
    (HEAD + "33,France,0.1,,,1.5,\n", "prices.csv row 2 column increment", "whole seconds from 1"),
    (HEAD + "33,France,0.1,,,,x\n", "prices.csv row 2 column origin", "digits only"),
    (HEAD + "33,F,1,,,,\n\n33,F,2,,,,\n", "prices.csv row 4 column prefix", "with origin any already stands in row 2"),
    (HEAD + "33,F,1,,,,44\n33,F,2,,,,44\n", "prices.csv row 3 column prefix", "with origin 44 already stands in row 2"),
    (PRICES.encode() + b"33,\xff,0.1\n", "prices.csv", "is not UTF-8"),
]


@pytest.mark.rule("SIP-8", "SIP-29")
@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ('host = "198.51.100.1"', "198.51.100.1", 5060),
        ('host = "198.51.100.1"\nport = 0\ntransport = "tls"', "198.51.100.1", 5061),
        ('host = "2001:DB8::1"\nport = 5070\ntransport = "tcp"', "2001:db8::1", 5070),
        ('host = "SIP.Carrier.example."', "sip.carrier.example", 0),
        ('host = "sip.carrier.example"\ntransport = "tls"', "sip.carrier.example", 0),
        ('host = "sip.carrier.example"\nport = 5080', "sip.carrier.example", 5080),
    ],
)
def test_where_a_gateway_is(write_bundle: Write, text: str, host: str, port: int) -> None:
    gateway = load_bundle(write_bundle(changed('host = "198.51.100.1"', text))).gateways[0]
    assert (gateway.host, gateway.port) == (host, port)


@pytest.mark.rule("SIP-5", "TG-7")
@pytest.mark.parametrize(("prices", "where", "why"), CSV_FAULTS)
def test_a_fault_in_a_csv_file(write_bundle: Write, prices: str | bytes, where: str, why: str) -> None:
    faults = faults_of(write_bundle(prices=prices))
    assert [fault[0] for fault in faults] == [where]
    assert why in faults[0][2]


def test_all_faults_are_collected(write_bundle: Write) -> None:
    """A fault in one key of a table hides no fault between tables, and none in a file."""
    toml = (
        changed('name = "Acme"', "name = 5")
        .replace('pricelist = "retail"', 'pricelist = "gold"')
        .replace('host = "198.51.100.2"', 'host = "x"')
        .replace('id = "beta"', 'id = "alpha"')
        .replace('password = "secret"', 'passwort = "secret"')
    )
    path = write_bundle(toml, prices=PRICES + "x,,1\n33,,x\n", coverage="prefix\n")
    assert {where for where, _, _ in faults_of(path)} == {
        "customer[0].name",
        "customer[0].pricelist",
        "customer[0].trunk[0].passwort",
        "customer[1].pricelist",
        "gateway[1].host",
        "gateway[1].id",
        "prices.csv row 4 column prefix",
        "prices.csv row 5 column rate",
        "coverage.csv row 1",
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_ends_and_spaces_are_taken(write_bundle: Write, end: str) -> None:
    lines = ["Rate, prefix ,NAME", '0.012, 44 ,"United Kingdom, ""GB"""', "", '0.024,447,"Mobile"']
    bundle = load_bundle(write_bundle(prices=b"\xef\xbb\xbf" + end.join(lines).encode()))
    rows = [(row.prefix, row.name, row.rate) for row in bundle.prices["retail"]]
    assert rows == [("44", 'United Kingdom, "GB"', Decimal("0.012")), ("447", "Mobile", Decimal("0.024"))]


@pytest.mark.rule("TG-7", "TP-2")
def test_defaults_of_rows(write_bundle: Write) -> None:
    toml = in_list("initial = 30\nincrement = 6")
    bundle = load_bundle(write_bundle(toml, prices=HEAD + "44,UK,1,,,1,\n"))
    assert bundle.prices["retail"][0][4:7] == (Decimal(0), 30, 1)
    assert bundle.coverage["alpha"][0][4:7] == (Decimal("0.001"), 30, 6)
    assert bundle.coverage["alpha"][1][1:7] == ("33", "UK from France", Decimal("0.005"), Decimal(0), 1, 1)
    assert COVERAGE.count("\n") == len(bundle.coverage["alpha"]) + 1


@pytest.mark.rule("SIP-21")
def test_passwords_become_hashes(write_bundle: Write) -> None:
    ready = "0123456789abcdef" * 2
    more = f'''
[[customer.trunk]]
id = "t2"
username = "u2"
password = "@random"
[[customer.trunk]]
id = "t3"
username = "u3"
ha1_md5 = "{ready}"
'''
    bundle = load_bundle(write_bundle(changed(ACME, ACME + more)))
    trunks = {trunk.username: trunk.ha1_md5 for trunk in bundle.trunks}
    by_sha256 = {trunk.username: trunk.ha1_sha256 for trunk in bundle.trunks}
    assert trunks["acme"] == md5(b"acme:here:secret").hexdigest()
    assert by_sha256["acme"] == sha256(b"acme:here:secret").hexdigest()
    assert by_sha256["u3"] == by_sha256[""] == ""
    assert list(bundle.made_passwords) == ["u2"]
    made = bundle.made_passwords["u2"]
    assert len(made) >= 20
    assert trunks["u2"] == md5(f"u2:here:{made}".encode()).hexdigest()
    assert trunks["u3"] == ready
    assert "secret" not in repr(bundle)
    assert made not in repr(bundle)
    assert load_bundle(write_bundle(changed(ACME, ACME + more))).made_passwords["u2"] != made


@pytest.mark.rule("SIP-20", "SIP-21")
def test_new_ways_to_know_a_customer(write_bundle: Write) -> None:
    more = f'''{HARBOUR}tech_prefix = "55"
[[customer.trunk]]
id = "other-prefix"
source = "192.0.2.0/24"
tech_prefix = "9#"
[[customer.trunk]]
id = "shown"
certificate = "{SHOWN}"
[[customer.trunk]]
id = "narrow"
username = "narrow"
password = "secret"
algorithms = ["SHA-256"]
'''
    bundle = load_bundle(write_bundle(changed(HARBOUR, more)))
    assert bundle.platform.digest == ["SHA-256", "MD5"]
    assert [(one.source, one.tech_prefix, one.certificate, one.algorithms) for one in bundle.trunks] == [
        ("", "", "", []),
        ("192.0.2.0/24", "55", "", []),
        ("192.0.2.0/24", "9#", "", []),
        ("", "", SHOWN, []),
        ("", "", "", ["SHA-256"]),
    ]


def test_the_demo_is_valid() -> None:
    bundle = load_bundle(DEMO)
    assert bundle.platform.digest == ["MD5"], "SIPp reads the first challenge and knows no other"
    assert list(bundle.made_passwords) == ["acme"]
    retail = {row.prefix: row for row in bundle.prices["retail"]}
    assert retail["44"].rate == Decimal("0.012")
    assert retail["447"].rate == Decimal("0.024")
    assert all(retail[prefix].rate >= Decimal("0.50") for prefix in ("870", "881", "882", "883", "979"))
    costs = {name: {row.prefix: row.rate for row in rows if not row.origin} for name, rows in bundle.coverage.items()}
    assert all(rate < retail[prefix].rate for rows in costs.values() for prefix, rate in rows.items())
    assert costs["alpha"]["447"] < costs["beta"]["447"]


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "no.toml")[0][0] == "bundle"
