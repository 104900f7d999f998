"""Advice on memory names what the user may choose, else whom to ask."""

import json

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.model.request.memory_advice import Profile, memory_advice
from gateway_provisioners.provisioners.launch_traits import LaunchTraits
from gateway_provisioners.provisioners.memory_advice import advise_on_memory

ADMINISTRATOR = "the administrator of this gateway"
MEDIUM = Profile("Python 3 (medium)", "8Gi")
LARGE = Profile("Python 3 (large)", "32Gi")


def advice(own="", requested="", maximum="", profiles=()):
    return memory_advice(
        own_limit=own,
        requested=requested,
        maximum=maximum,
        profiles=profiles,
        administrator=ADMINISTRATOR,
    )


@pytest.mark.parametrize(
    ("limits", "choice"),
    [
        ({}, "set KERNEL_MEMORY_LIMIT"),
        ({"requested": "2Gi"}, "set KERNEL_MEMORY_LIMIT"),
        ({"maximum": "16Gi"}, "set KERNEL_MEMORY_LIMIT to at most 16Gi"),
        ({"own": "4Gi", "maximum": "16Gi"}, "set KERNEL_MEMORY_LIMIT to at most 16Gi"),
        ({"own": "4Gi", "requested": "2Gi"}, "set KERNEL_MEMORY_LIMIT to at most 4Gi"),
        ({"own": "4Gi"}, f"ask {ADMINISTRATOR}"),
        ({"own": "4Gi", "requested": "4096Mi"}, f"ask {ADMINISTRATOR}"),
        ({"own": "4Gi", "maximum": "2Gi"}, f"ask {ADMINISTRATOR}"),
        ({"own": "4Gi", "profiles": [Profile("Small", "1Gi")]}, f"ask {ADMINISTRATOR}"),
        (
            {"own": "4Gi", "profiles": [LARGE, Profile("Huge", ""), MEDIUM]},
            "start 'Python 3 (medium)' (8Gi) or 'Python 3 (large)' (32Gi) or 'Huge' (no memory limit)",
        ),
        (
            {
                "own": "4Gi",
                "requested": "5Gi",
                "maximum": "6Gi",
                "profiles": [Profile("Huge", "9Gi")],
            },
            "start 'Huge' (9Gi) without KERNEL_MEMORY_LIMIT, or set KERNEL_MEMORY_LIMIT to at most 6Gi",
        ),
    ],
)
def test_names_larger_profiles_and_the_allowed_value(limits, choice):
    assert advice(**limits) == f"For more memory, {choice}."


def test_names_three_profiles_at_most():
    profiles = [Profile(f"P{number}", f"{number}Gi") for number in range(9, 1, -1)]
    assert "'P2' (2Gi) or 'P3' (3Gi) or 'P4' (4Gi)." in advice("1Gi", profiles=profiles)


def test_limits_that_cannot_be_read_are_an_error():
    with pytest.raises(ConfigurationError):
        advice("much")


class TestAdviseOnMemory:
    """The profiles are the kernelspecs of this process."""

    @pytest.fixture
    def kernel_specs(self, tmp_path):
        manager = KernelSpecManager(kernel_dirs=[str(tmp_path)], ensure_native_kernel=False)

        def add(name, memory, *, profile_of=None, **config):
            config["resources"] = {"limits": {"memory": memory}}
            provisioner = {"provisioner_name": "local-provisioner", "config": config}
            spec = {"argv": ["x"], "display_name": name.title(), "language": "python"}
            spec["metadata"] = {"kernel_provisioner": provisioner}
            if profile_of:
                spec["metadata"]["profile_of"] = profile_of
            (tmp_path / name).mkdir()
            (tmp_path / name / "kernel.json").write_text(json.dumps(spec))

        manager.add = add
        return manager

    @staticmethod
    def advise(kernel_specs, name="small", metadata=None, own="1Gi", **variables):
        return advise_on_memory(
            LaunchTraits(resources={"limits": {"memory": own}}),
            kernel_name=name,
            metadata=metadata or {},
            environment={"KERNEL_USERNAME": "ann", **variables},
            groups=["staff"],
            kernel_specs=kernel_specs,
        )

    def test_profiles_and_their_kernel_name_each_other(self, kernel_specs):
        kernel_specs.add("other", "64Gi")
        kernel_specs.add("small", "1Gi")
        kernel_specs.add("medium", "2Gi", profile_of="small")
        kernel_specs.add("large", "4Gi", profile_of="small")
        assert self.advise(kernel_specs) == (
            "For more memory, start 'Medium' (2Gi) or 'Large' (4Gi)."
        )
        of_medium = self.advise(kernel_specs, "medium", {"profile_of": "small"}, own="2Gi")
        assert of_medium == "For more memory, start 'Large' (4Gi)."
        assert "'Small' (1Gi)" in self.advise(
            kernel_specs, "tiny", {"profile_of": "small"}, own="512Mi"
        )

    def test_profiles_that_the_user_may_not_start_are_left_out(self, kernel_specs):
        kernel_specs.add("small", "1Gi")
        kernel_specs.add("large", "4Gi", profile_of="small", authorized_users=["bob"])
        kernel_specs.add("huge", "8Gi", profile_of="small", unauthorized_users=["ann"])
        kernel_specs.add("group", "2Gi", profile_of="small", authorized_groups=["staff"])
        kernel_specs.add("admins", "9Gi", profile_of="small", authorized_groups=["admins"])
        assert self.advise(kernel_specs) == "For more memory, start 'Group' (2Gi)."

    def test_malformed_profiles_are_left_out(self, kernel_specs):
        kernel_specs.add("small", "1Gi")
        kernel_specs.add("large", "much", profile_of="small")
        kernel_specs.add("huge", "4Gi", profile_of="small", authorized_users=7)
        assert self.advise(kernel_specs) == f"For more memory, ask {ADMINISTRATOR}."

    def test_contact_is_named(self, monkeypatch):
        monkeypatch.setenv("GP_CONTACT", "ml@example.org")
        assert self.advise(None) == f"For more memory, ask {ADMINISTRATOR} (ml@example.org)."

    def test_requested_value_counts(self, monkeypatch):
        monkeypatch.setenv("GP_MAX_MEMORY", "2Gi")
        assert self.advise(None) == "For more memory, set KERNEL_MEMORY_LIMIT to at most 2Gi."
        assert "ask" in self.advise(None, KERNEL_MEMORY_LIMIT="2Gi")

    def test_unreadable_limit_names_whom_to_ask(self):
        assert self.advise(None, own="much") == f"For more memory, ask {ADMINISTRATOR}."
