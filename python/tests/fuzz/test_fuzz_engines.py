"""The parsers of what engines say about workloads understand every form of their APIs."""

from hypothesis import given
from hypothesis import strategies as st

from fuzz.hostile import odd_texts
from gateway_provisioners.model.container import status as containers
from gateway_provisioners.model.container import task_status as tasks
from gateway_provisioners.model.pod import api_refusal, kernel_state
from gateway_provisioners.model.pod import status as pods
from gateway_provisioners.model.pod.conditions import StartConditions
from gateway_provisioners.model.pod.ends import end_cause
from gateway_provisioners.model.pod.progress import progress
from gateway_provisioners.model.recovery import read_time

numbers = st.integers(-(2**31), 2**31 - 1)
times = st.none() | st.sampled_from(["2026-01-01T00:00:00Z"])
texts = odd_texts | st.sampled_from(["0", "1", "9" * 5000, "٣", "²", "-1", "1.5"])


def optional(**fields):
    """Draw an object some of whose fields are left out, as APIs do."""
    return st.fixed_dictionaries({}, optional=fields)


reasons = texts | st.sampled_from(
    [
        *("OOMKilled", "StartError", "ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"),
        *("CreateContainerError", "FailedMount", "Failed", "Nominated"),
    ]
)
states = optional(
    terminated=optional(exitCode=numbers, reason=reasons, message=texts),
    waiting=optional(reason=reasons, message=texts),
    running=optional(startedAt=texts),
)
container_statuses = st.lists(
    optional(name=texts | st.just("kernel"), state=states, image=texts), max_size=3
)
annotations = st.dictionaries(
    st.sampled_from(
        [
            kernel_state.STATE_ANNOTATION,
            kernel_state.OPERATOR_ANNOTATION,
            kernel_state.ATTEMPT_ANNOTATION,
            kernel_state.USERNAME_ANNOTATION,
            kernel_state.STARTED_ANNOTATION,
            kernel_state.connected_annotation("another"),
        ]
    )
    | texts,
    texts | st.sampled_from(["running", "restarting", "ending"]),
)
pod_objects = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": texts},
            optional={
                "labels": st.dictionaries(st.sampled_from(["kernel_id"]) | texts, texts),
                "annotations": annotations,
                "creationTimestamp": times,
                "deletionTimestamp": times,
            },
        )
    },
    optional={
        "spec": optional(
            containers=st.lists(
                st.fixed_dictionaries(
                    {"name": texts | st.just("kernel")},
                    optional={
                        "resources": optional(
                            limits=st.dictionaries(texts, texts),
                            requests=st.dictionaries(texts, texts),
                        )
                    },
                ),
                max_size=2,
            )
        ),
        "status": optional(
            phase=texts | st.sampled_from(["Pending", "Running", "Failed", "Succeeded"]),
            podIP=texts,
            reason=texts | st.just("Evicted"),
            message=texts,
            containerStatuses=container_statuses,
            initContainerStatuses=container_statuses,
            conditions=st.lists(
                optional(
                    type=texts | st.just("PodScheduled"),
                    status=texts | st.just("False"),
                    reason=texts | st.just("Unschedulable"),
                    message=texts,
                ),
                max_size=2,
            ),
        ),
    },
)


def check(failure):
    """Check that a failure has words."""
    assert failure is None or (failure.reason and str(failure))


@given(pod_objects)
def test_pods(pod):
    conditions = StartConditions(pod)
    for final in (True, False):
        check(conditions.failure(unschedulable_is_final=final))
    assert isinstance(pods.exit_code(pod), int | None)
    assert isinstance(end_cause(pod), str | None)
    assert progress(pod, conditions)
    assert pods.has_ended(pod) in (True, False)
    assert conditions.is_unschedulable in (True, False)
    assert all(isinstance(each, str) for each in pods.addresses(pod))
    assert pods.kernel_container(pod) is not None
    assert isinstance(kernel_state.kernel_id_of(pod, "an-instance"), str)
    assert isinstance(kernel_state.started(pod), str)


@given(st.lists(pod_objects, max_size=4), st.booleans())
def test_states_of_kernels(many, alive):
    for number, pod in enumerate(many):
        pod["metadata"]["name"] = f"pod-{number}"
    states = [kernel_state.read_state(pod) for pod in many]
    decision = kernel_state.decide(states, is_alive=lambda _: alive)
    assert decision.serve not in decision.remove
    assert set(decision.remove) <= set(states)
    for pod in many:
        time = read_time(kernel_state.annotation(pod, kernel_state.STARTED_ANNOTATION))
        assert time is None or time.tzinfo
        count = kernel_state.connections_elsewhere(pod, own="own", is_alive=lambda _: alive)
        assert 0 <= count < 10**9


@given(
    optional(
        type=st.sampled_from(["Warning", "Normal"]),
        reason=reasons,
        message=texts,
        involvedObject=optional(fieldPath=texts),
    )
)
def test_events_of_pods(event):
    conditions = StartConditions({})
    conditions.see_event(event)
    check(conditions.present)
    assert progress({}, conditions)


@given(st.sampled_from([0, 400, 403, 409, 422, 500]), texts, texts)
def test_refusals_of_the_api(status, reason, message):
    check(api_refusal.creation_failure(status=status, api_reason=reason, message=message))


container_objects = optional(
    State=optional(
        Status=texts | st.sampled_from(["running", "exited", "dead", "created"]),
        ExitCode=numbers,
        OOMKilled=st.booleans(),
    ),
    HostConfig=optional(Memory=st.integers(0, 2**63 - 1)),
    NetworkSettings=optional(
        Networks=st.none() | st.dictionaries(texts, optional(IPAddress=texts), max_size=2)
    ),
)


@given(container_objects)
def test_containers(container):
    check(containers.start_failure(container))
    assert isinstance(containers.exit_code(container), int | None)
    assert isinstance(containers.end_cause(container), str | None)
    assert all(isinstance(each, str) for each in containers.addresses(container))
    assert containers.progress(container).message
    assert "OOMKilled" in containers.with_likely_oom(container)["State"]


@given(optional(ServerVersion=texts, BuildahVersion=texts))
def test_engines(info):
    assert containers.reports_oom(info) in (True, False)


@given(st.sampled_from([0, 400, 404, 409, 500]), texts | st.sampled_from(["No such image: x"]))
def test_refusals_of_the_engine(status, message):
    check(containers.refusal(status, message, image="an/image", network="a-network"))


task_objects = optional(
    Status=optional(
        State=texts
        | st.sampled_from(["new", "pending", "running", "failed", "rejected", "complete"]),
        Err=texts | st.sampled_from(["No such image: x", "invalid mount"]),
        ContainerStatus=st.none() | optional(ContainerID=texts, ExitCode=st.none() | numbers),
    ),
    NetworksAttachments=st.none()
    | st.lists(optional(Addresses=st.none() | st.lists(texts, max_size=2)), max_size=2),
    Spec=optional(ContainerSpec=st.none() | optional(Image=texts)),
)


@given(task_objects)
def test_tasks(task):
    for final in (True, False):
        check(tasks.start_failure(task, unschedulable_is_final=final))
    assert isinstance(tasks.exit_code(task), int | None)
    assert all(isinstance(each, str) for each in tasks.addresses(task))
    assert isinstance(tasks.container_name(task, "a-service"), str)
    assert tasks.progress(task).message
