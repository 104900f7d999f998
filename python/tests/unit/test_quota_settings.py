"""GP_QUOTAS, as an administrator writes it."""

import json
from fractions import Fraction

import pytest

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.quota import CPUS, GPUS, KERNELS, MEMORY, KernelQuota
from gateway_provisioners.model.quota_settings import with_quotas
from gateway_provisioners.provisioners.engine_traits import EngineTraits
from gateway_provisioners.settings import check_environment

GI = 2**30


def test_all_fields():
    quotas = {
        "eachUser": {"cpus": 7.5, "memory": "32Gi", "gpus": "1"},
        "users": {
            "alice@example.com": {"kernels": 10, "cpus": "unlimited"},
            "bob": {"kernels": 0},
        },
        "groups": {"students": {"kernels": 1e2, "cpus": "500m", "memory": 1e12, "gpus": 0}},
    }
    assert with_quotas(KernelQuota(5, 3), json.dumps(quotas)) == KernelQuota(
        most=5,
        most_per_user=3,
        each_user={CPUS: Fraction(15, 2), MEMORY: Fraction(32 * GI), GPUS: Fraction(1)},
        users={
            "alice@example.com": {KERNELS: Fraction(10), CPUS: None},
            "bob": {KERNELS: Fraction(0)},
        },
        groups={
            "students": {
                KERNELS: Fraction(100),
                CPUS: Fraction(1, 2),
                MEMORY: Fraction(10**12),
                GPUS: Fraction(0),
            }
        },
    )


@pytest.mark.parametrize("text", ["", "{}", '{"eachUser": {}, "users": {}, "groups": {}}'])
def test_nothing_is_limited_by_default(text):
    assert not with_quotas(KernelQuota(), text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "GP_QUOTAS is not valid JSON: "),
        ("[" * 100_000, "GP_QUOTAS is not valid JSON: "),
        ("[]", "GP_QUOTAS: it must be an object."),
        ('{"everyUser": {}}', "everyUser does not exist; use eachUser, users or groups."),
        ('{"eachUser": 3}', "eachUser must be an object."),
        ('{"users": {"bob": null}}', "users.bob must be an object."),
        (
            '{"users": {"bob": {"cpu": 3}}}',
            "users.bob.cpu does not exist; use kernels, cpus, memory",
        ),
        ('{"eachUser": {"kernels": 3}}', "GP_MAX_KERNELS_PER_USER"),
        (
            '{"eachUser": {"cpus": "lots"}}',
            "eachUser.cpus must be a quantity such as 4, 500m or 16Gi",
        ),
        ('{"eachUser": {"cpus": -1}}', "eachUser.cpus must be a quantity"),
        ('{"eachUser": {"cpus": true}}', "and not true."),
        ('{"eachUser": {"cpus": NaN}}', "and not NaN."),
        ('{"eachUser": {"memory": null}}', "eachUser.memory must be a quantity"),
        ('{"eachUser": {"memory": ["1Gi"]}}', "eachUser.memory must be a quantity"),
        (
            '{"groups": {"ml": {"gpus": 0.5}}}',
            "groups.ml.gpus must be a whole number, or 'unlimited'",
        ),
        ('{"groups": {"ml": {"kernels": "500m"}}}', "groups.ml.kernels must be a whole number"),
        ('{"users": {"bob": {}, "bob": {}}}', "a name is there twice"),
    ],
)
def test_a_mistake_is_named_by_its_field(text, message, monkeypatch):
    with pytest.raises(ConfigurationError, match=r"^GP_QUOTAS") as error:
        with_quotas(KernelQuota(), text)
    assert message in str(error.value)
    monkeypatch.setenv("GP_QUOTAS", text)
    with pytest.raises(ConfigurationError, match=r"^GP_QUOTAS"):
        check_environment()


def test_the_settings_of_a_process_are_one_quota(monkeypatch):
    monkeypatch.setenv("GP_MAX_KERNELS", "9")
    monkeypatch.setenv("GP_MAX_KERNELS_PER_USER", "4")
    monkeypatch.setenv("GP_QUOTAS", '{"eachUser": {"cpus": 2}}')
    assert EngineTraits().quota == KernelQuota(9, 4, {CPUS: Fraction(2)})
