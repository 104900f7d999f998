"""The conditions of a Pod that is not up yet: pure; `condition_table` has the words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.model.condition import Condition, Kind
from gateway_provisioners.model.failures import sentence
from gateway_provisioners.model.pod import condition_table as table
from gateway_provisioners.model.pod.containers import waiting_containers
from gateway_provisioners.model.pod.ends import end_before_start
from gateway_provisioners.model.pod.manifest import SECRET_GATE
from gateway_provisioners.model.pod.status import condition, fields, kernel_container

# Of a message of the cluster; the kubelet's own limit is 1 KiB for an Event.
_LONGEST_MESSAGE = 2048
# The kubelet's Event at the beginning of a pull, which an image that is there already does without.
PULL_EVENT = "Pulling"
_PULL = re.compile(r"Pulling image \"([^\"]*)\"")
_PULL_FAILED = re.compile(r"Failed to pull image \"[^\"]*\": ")
_CONTAINER_OF_EVENT = re.compile(r"\{([^{}]*)\}$")
# Warnings that repeat what the Pod's status has as well.
_KNOWN_FROM_STATUS = frozenset({"FailedScheduling", "BackOff", "Failed"})
_SEVERITY = (Kind.FINAL, Kind.AWAITED, Kind.PASSING)


class StartConditions:
    """The conditions that keep one Pod from becoming a kernel, by all that the API has reported so far.

    A Pod's status alone hides some of it: volumes are only in Events, and older kubelets replace the cause
    of a failed pull with "Back-off pulling image".
    """

    def __init__(self, pod: Mapping[str, Any] | None = None) -> None:
        self._pod: Mapping[str, Any] = {}
        self._pull_errors: dict[str, str] = {}
        # The container whose image the node began to pull last, and the image: it pulls one after the other.
        self._pull = ("", "")
        self._event: Condition | None = None
        self._sign = ""
        self._advice = ""
        self.earlier = ""
        """The last report of an Event, in a sentence; "" before there is one."""
        if pod is not None:
            self.see_pod(pod)

    def see_pod(self, pod: Mapping[str, Any]) -> None:
        """Take the Pod's newest state."""
        self._pod = pod
        for container, word, message in _waiting(pod):
            if word == "ErrImagePull":
                self._pull_errors[str(container.get("name"))] = message

    def see_event(self, event: Mapping[str, Any]) -> None:
        """Take an Event about the Pod."""
        word, message = str(event.get("reason")), _cut(event.get("message"))
        if word == PULL_EVENT:
            self._see_pull(message, event)
        elif word in table.NODE_COMES_EVENTS:
            self._sign = message
        elif word == table.NO_NODE_COMES_EVENT:
            self._advice = sentence(message)
        elif event.get("type") == "Warning":
            self._see_warning(word, message, event)

    def _see_pull(self, message: str, event: Mapping[str, Any]) -> None:
        if (pull := _PULL.match(message)) and (name := _container_of(event)):
            self._pull = (name, pull[1])
            # Its volumes and its network are there, which the Pod's status says only after the pull.
            self._event = None

    @property
    def pulled_image(self) -> str:
        """The image that is being pulled; "" if none is known."""
        container, image = self._pull
        waiting = (str(each.get("name")) for each in waiting_containers(self._pod))
        return image if container in waiting else ""

    def _see_warning(self, word: str, message: str, event: Mapping[str, Any]) -> None:
        if pull := _PULL_FAILED.match(message):
            if name := _container_of(event):
                self._pull_errors[name] = message[pull.end() :]
        elif row := table.find(table.EVENTS, word, message):
            self._event = _condition(row, word, message)
            self.earlier = self._event.case
        elif word not in _KNOWN_FROM_STATUS:
            self.earlier = f"{word}: {sentence(message)}"

    @property
    def present(self) -> Condition | None:
        """The condition that holds at present; the most severe one, if there are several."""
        found = [*self._scheduling(), *self._containers()]
        if self._event is not None and not containers_may_start(self._pod):
            found.append(self._event)
        return min(found, key=lambda each: _SEVERITY.index(each.kind), default=None)

    @property
    def is_unschedulable(self) -> bool:
        """True while the scheduler has found no node, and none has been announced."""
        return self._row_of_scheduling() is table.NO_NODE and not self._sign_of_node

    def failure(self, *, unschedulable_is_final: bool) -> LaunchFailed | None:
        """Explain why this Pod will not become a kernel; None while it still may.

        Args:
            unschedulable_is_final: False while a sign may still come that there will be a node.
        """
        if ended := end_before_start(self._pod):
            return ended
        found = self.present
        if found is None or found.can_pass:
            return None
        return None if self.is_unschedulable and not unschedulable_is_final else found.failure()

    def _scheduling(self) -> Iterator[Condition]:
        if gates := _foreign_gates(self._pod):
            yield _explained(Kind.AWAITED, table.GATED, message=", ".join(map(repr, gates)))
            return
        word, message = _obstacle_to_scheduling(self._pod)
        if not word:
            return
        row = self._row_of_scheduling()
        if row is None:
            yield _explained(Kind.PASSING, table.NOT_SCHEDULED, word=word, message=message)
        elif row is table.NO_NODE and (sign := self._sign_of_node):
            yield _explained(Kind.AWAITED, table.NODE_COMES, message=sign)
        else:
            found = _condition(row, word, message, requests=_requests(self._pod))
            yield dataclasses.replace(found, case=f"{found.case} {self._advice}".rstrip())

    def _row_of_scheduling(self) -> table.Row | None:
        return table.find(table.SCHEDULING, *_obstacle_to_scheduling(self._pod))

    @property
    def _sign_of_node(self) -> str:
        """The promise of a node, in words; "" if nothing promises one."""
        if nominated := fields(self._pod).get("nominatedNodeName"):
            return f"pods of lower priority are making room on node {nominated}"
        return self._sign

    def _containers(self) -> Iterator[Condition]:
        for container, word, message in _waiting(self._pod):
            # Kubelets since 1.32 add the cause to the message of a back-off.
            known = self._pull_errors.get(str(container.get("name")), message)
            cause = known if word == "ImagePullBackOff" and ": " not in message else message
            rows: Sequence[table.Row] = (*table.IMAGES, *table.CONTAINERS)
            if row := table.find(rows, word, cause):
                yield _condition(row, word, cause, image=container.get("image"))


def _condition(row: table.Row, word: str, message: str, **values: object) -> Condition:
    return _explained(row.kind, row.explanation, word=word, message=message, **values)


def _explained(kind: Kind, why: table.Explanation, *, message: str, **values: object) -> Condition:
    case = why.case.format(message=sentence(message) or "no further details.", **values)
    return Condition(kind, why.reason, case, why.remedy)


def _container_of(event: Mapping[str, Any]) -> str:
    """Return the name of the container that an Event is about; "" if it names none."""
    path = str((event.get("involvedObject") or {}).get("fieldPath"))
    found = _CONTAINER_OF_EVENT.search(path)
    return found[1] if found else ""


def _cut(message: object) -> str:
    return str(message or "").strip()[:_LONGEST_MESSAGE]


def _statuses(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = fields(pod)
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _waiting(pod: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Yield each container that waits, with the reason and the message."""
    for container in _statuses(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if reason := waiting.get("reason"):
            yield container, str(reason), _cut(waiting.get("message"))


def containers_may_start(pod: Mapping[str, Any]) -> bool:
    """Return whether the node has prepared the Pod's volumes and its sandbox."""
    # Of Kubernetes since 1.29.
    if condition(pod, "PodReadyToStartContainers").get("status") == "True":
        return True
    states = (container.get("state") or {} for container in _statuses(pod))
    return any("running" in state or "terminated" in state for state in states)


def _obstacle_to_scheduling(pod: Mapping[str, Any]) -> tuple[str, str]:
    """Return the reason and the message of a Pod that has no node; two empty texts if it has one."""
    scheduled = condition(pod, "PodScheduled")
    word = str(scheduled.get("reason") or "")
    # A Pod without foreign gates is held back by ours, or is about to be scheduled.
    if scheduled.get("status") != "False" or word == "SchedulingGated":
        return "", ""
    return word, _cut(scheduled.get("message"))


def _foreign_gates(pod: Mapping[str, Any]) -> list[str]:
    gates = (pod.get("spec") or {}).get("schedulingGates") or ()
    names = (str(gate.get("name")) for gate in gates)
    return [name for name in names if name != SECRET_GATE]


def _requests(pod: Mapping[str, Any]) -> str:
    name = kernel_container(pod)
    for container in (pod.get("spec") or {}).get("containers") or ():
        if container.get("name") == name:
            resources = container.get("resources") or {}
            amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
            if amounts:
                return ", ".join(f"{name} {amount}" for name, amount in sorted(amounts.items()))
    return "no particular resources"
