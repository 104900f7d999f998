"""A kernel's pod as tests need one."""

from gateway_provisioners.model.pod.manifest import KernelPodSpec

KERNEL = KernelPodSpec(
    name="a-1",
    namespace="kernels",
    instance="ours",
    kernel_id="a",
    kernel_name="python3",
    username="alice",
    image="image",
    environment={},
    secret_environment={},
)
