"""Limits on requests of clients, which hold for every spelling of a value."""

import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import ConfigurationError, InvalidRequest, PolicyViolation
from gateway_provisioners.model.request.client_policy import ClientPolicy
from gateway_provisioners.model.request.launch_request import parse_launch_request
from gateway_provisioners.model.request.quantity import amount

IN_FORCE = {
    "KERNEL_UID": "1000",
    "KERNEL_GID": "100",
    "KERNEL_SERVICE_ACCOUNT_NAME": "kernel",
    "KERNEL_NAMESPACE": "notebooks",
}
OPEN = ClientPolicy(client_ids=True, client_service_accounts=("spark",))

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
SUFFIXES = {
    **{suffix: Fraction(f"1e{power}") for suffix, power in DECIMAL.items()},
    **{f"{prefix}i": Fraction(2 ** (10 * power)) for power, prefix in enumerate("KMGTPE", 1)},
    **{f"{e}{power}": Fraction(f"1e{power}") for e in "eE" for power in ("-3", "0", "3", "+09")},
}
NUMBERS = st.decimals(min_value=0, max_value=10**9, places=3).map(lambda d: f"{d:f}")
QUANTITIES = st.tuples(NUMBERS | st.integers(0, 10**12).map(str), st.sampled_from(list(SUFFIXES)))


def parse(policy, **environment):
    return parse_launch_request(environment, admin_settings=IN_FORCE, policy=policy)


@given(QUANTITIES)
def test_a_quantity_is_the_number_that_kubernetes_reads(quantity):
    number, suffix = quantity
    assert amount(number + suffix) == Fraction(number) * SUFFIXES[suffix]


@pytest.mark.attack(17)
@given(QUANTITIES, QUANTITIES)
def test_maxima_compare_numbers_and_not_spellings(asked, most):
    policy = ClientPolicy(max_memory="".join(most))
    wanted = Fraction(asked[0]) * SUFFIXES[asked[1]]
    try:
        parse(policy, KERNEL_MEMORY="".join(asked))
        allowed = True
    except PolicyViolation:
        allowed = False
    assert allowed == (wanted <= Fraction(most[0]) * SUFFIXES[most[1]])


@pytest.mark.parametrize("same", ["1Gi", "1024Mi", "1048576Ki", "1073741824", "1.073741824e9"])
def test_equal_amounts_are_equal(same):
    for most in ("1Gi", "1024Mi", "1073741824", "1.073741824G"):
        parse(ClientPolicy(max_memory=most), KERNEL_MEMORY_LIMIT=same)
        with pytest.raises(PolicyViolation):
            parse(ClientPolicy(max_memory=most), KERNEL_MEMORY_LIMIT="1.000001Gi")


@pytest.mark.parametrize(
    ("name", "value", "setting", "most"),
    [
        ("KERNEL_CPUS", "2001m", "max_cpus", "2"),
        ("KERNEL_CPUS_LIMIT", "2.5", "max_cpus", "2000m"),
        ("KERNEL_MEMORY", "9Gi", "max_memory", "8Gi"),
        ("KERNEL_MEMORY_LIMIT", "8.6G", "max_memory", "8Gi"),
        ("KERNEL_GPUS", "2", "max_gpus", "1"),
        ("KERNEL_GPUS_LIMIT", "1", "max_gpus", "0"),
    ],
)
def test_a_refusal_names_the_maximum(name, value, setting, most):
    with pytest.raises(PolicyViolation) as refusal:
        parse(ClientPolicy(**{setting: most}), **{name: value})
    assert str(refusal.value) == (
        f"{name}='{value}' is more than clients may request for this kernel: at most {most} ({setting})."
    )
    assert refusal.value.http_status == 403
    parse(ClientPolicy(), **{name: value})


@pytest.mark.parametrize("nothing", ["0", "0Gi", "0.000", "0e3"])
@pytest.mark.parametrize("name", ["KERNEL_MEMORY_LIMIT", "KERNEL_CPUS_LIMIT"])
def test_a_limit_of_zero_is_refused(name, nothing):
    with pytest.raises(InvalidRequest, match="no limit"):
        parse(ClientPolicy(max_memory="1Gi", max_cpus="1"), **{name: nothing})


@given(st.text(max_size=12))
def test_text_is_a_quantity_only_if_it_is_plain(text):
    try:
        amount(text)
    except ConfigurationError:
        return
    assert text.isascii()
    assert text[0].isdigit()
    assert not any(character.isspace() for character in text)


ZERO_LIKE = [
    *("0", "00", "000", "+0", "-0", " 0", "0 ", "0\n", "\t0", "0x0", "0o0", "0b0", "0_0", "0.0"),
    *(
        "0e0",
        "1e1",
        "",
        "\u0660",
        "\u0966",
        "\uff10",
        "\U0001d7ce",
        "0\0",
        "null",
        "root",
        "'0'",
        "1000 ",
        "01000",
    ),
    *("4294967296", "2147483648", "99999999999999999999", "-1", "\uff11\uff10\uff10\uff10"),
]


@pytest.mark.attack(17)
@pytest.mark.parametrize("name", ["KERNEL_UID", "KERNEL_GID"])
@pytest.mark.parametrize("value", ZERO_LIKE)
@pytest.mark.parametrize("policy", [ClientPolicy(), OPEN])
def test_no_spelling_of_an_id_circumvents_the_prohibition(name, value, policy):
    if not value:  # the same as unset
        assert parse(policy, **{name: value}).run_as_user is None
        return
    with pytest.raises((InvalidRequest, PolicyViolation), match=name):
        parse(policy, **{name: value})


def spellings(number):
    """Return a strategy of spellings of a number, in several notations and scripts."""
    digits = str(number)
    foreign = [
        character
        for character in map(chr, range(0x660, 0x1FBFA))
        if unicodedata.category(character) == "Nd" and unicodedata.digit(character) == 0
    ]
    return st.sampled_from(
        [
            *(digits, f"0{digits}", f"+{digits}", f"-{digits}", f" {digits}", f"{digits} "),
            *(hex(number), oct(number), bin(number), f"{digits}.0", f"{digits}e0", f"{digits}\n"),
            *("".join(chr(ord(zero) + int(digit)) for digit in digits) for zero in foreign),
        ]
    )


@given(st.integers(0, 2**40).flatmap(lambda number: st.tuples(st.just(number), spellings(number))))
def test_an_id_is_read_as_its_plain_decimal_or_not_at_all(pair):
    number, spelling = pair
    policy = ClientPolicy(client_ids=True, prohibited_uids=("0", "10-99"), prohibited_gids=())
    try:
        read = parse(policy, KERNEL_UID=spelling).run_as_user
    except InvalidRequest:
        assert spelling != str(number) or number > 2**31 - 1
    except PolicyViolation:
        assert spelling == str(number)
        assert number == 0 or 10 <= number <= 99
    else:
        assert spelling == str(read) == str(number)
        assert number != 0
        assert not 10 <= number <= 99


@given(st.text(max_size=12))
def test_any_text_is_an_id_that_is_allowed_or_refused(text):
    try:
        read = parse(OPEN, KERNEL_GID=text).run_as_group
    except (InvalidRequest, PolicyViolation):
        return
    assert (read is None) == (not text)
    assert read is None or (str(read) == text and 0 < read < 2**31)


def test_clients_choose_ids_only_if_the_administrator_allows_it():
    assert parse(OPEN, KERNEL_UID="2000", KERNEL_GID="3000").run_as_user == 2000
    with pytest.raises(PolicyViolation) as refusal:
        parse(ClientPolicy(), KERNEL_UID="2000")
    assert str(refusal.value) == (
        "KERNEL_UID='2000' is not allowed: it is set by the administrator of this gateway, to '1000' "
        "(client_ids). Remove KERNEL_UID from the kernel's environment."
    )
    assert parse(ClientPolicy(), KERNEL_UID="1000").run_as_user == 1000


def test_a_refusal_of_an_id_names_the_prohibited_ids():
    policy = ClientPolicy(client_ids=True, prohibited_uids=("0-999", "65534"))
    with pytest.raises(PolicyViolation) as refusal:
        parse(policy, KERNEL_UID="65534")
    assert str(refusal.value) == (
        "KERNEL_UID=65534 is not allowed; prohibited ids: 0-999, 65534 (prohibited_uids)."
    )
    assert parse(policy, KERNEL_UID="1001", KERNEL_GID="999").run_as_group == 999


def test_service_accounts_are_chosen_from_a_list():
    for allowed in ("kernel", "spark"):
        request = parse(OPEN, KERNEL_SERVICE_ACCOUNT_NAME=allowed)
        assert request.service_account_name == allowed
    with pytest.raises(PolicyViolation, match=r"'kernel' or 'spark' \(client_service_accounts\)"):
        parse(OPEN, KERNEL_SERVICE_ACCOUNT_NAME="admin\nhostPID: true")


def test_the_namespace_can_only_be_repeated():
    assert parse(OPEN, KERNEL_NAMESPACE="notebooks").environment == {}
    with pytest.raises(
        PolicyViolation, match=r"KERNEL_NAMESPACE='kube-system' is not .* 'notebooks'"
    ):
        parse(OPEN, KERNEL_NAMESPACE="kube-system")


@pytest.mark.parametrize("path", ["work", "../etc", "C:\\work", "/a\0b", "/\ud800"])
def test_a_mirrored_working_directory_is_an_absolute_path(path):
    policy = ClientPolicy(mirror_working_dirs=True)
    assert parse(policy, KERNEL_WORKING_DIR="/home/alice").working_dir == "/home/alice"
    with pytest.raises(InvalidRequest, match="KERNEL_WORKING_DIR"):
        parse(policy, KERNEL_WORKING_DIR=path)
    assert parse(ClientPolicy(), KERNEL_WORKING_DIR=path).working_dir is None


def test_gpus_are_requested_as_the_configured_resource():
    request = parse(ClientPolicy(gpu_resource="amd.com/gpu"), KERNEL_GPUS="1")
    assert request.resources == {"limits": {"amd.com/gpu": "1"}}


@pytest.mark.parametrize(
    "setting",
    [
        *({name: "4GB"} for name in ("max_cpus", "max_memory", "max_gpus")),
        *({name: ["0x0"]} for name in ("prohibited_uids", "prohibited_gids")),
        {"prohibited_uids": ["root"]},
        {"prohibited_gids": ["999-0"]},
        {"max_memory": "-1"},
    ],
)
def test_an_invalid_setting_is_refused(setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        ClientPolicy(**setting)
