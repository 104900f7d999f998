"""The gateways of one release, and which of their processes still run."""

from __future__ import annotations

from collections.abc import Callable

from gateway_provisioners.kube.api import KubeApi
from gateway_provisioners.kube.cache import ObjectCache
from gateway_provisioners.model.pod.kernel_state import annotation, annotations_patch

_PROCESS_ANNOTATION = "gateway-provisioners/process"
_ENDED_PHASES = frozenset({"Failed", "Succeeded"})


class Gateways:
    """All gateways that a label selector finds, seen through one watch.

    A gateway writes the name of its process into an annotation of its own pod. A process is gone when
    its pod is gone, has ended, or holds another process's name.

    Args:
        own_pod: the pod of this process; "" outside a cluster, where it has no peers.
        process: the name of this process, never used before or again.
        patches_pods: whether it has the right to patch pods of that namespace, where kernels are as well.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        *,
        selector: str,
        own_pod: str,
        process: str,
        patches_pods: bool,
    ) -> None:
        self.process = process
        self._patches_pods = patches_pods
        self._api = api
        self._namespace = namespace
        self._own_pod = own_pod
        self._cache = (
            ObjectCache("gateways", api.collection("Pod", namespace, label_selector=selector))
            if own_pod and selector
            else None
        )

    async def start(self) -> None:
        """Announce this process to the others, and begin to follow them.

        Raises:
            ClusterError: the API refused.
        """
        if self._cache is None:
            return
        annotations = {_PROCESS_ANNOTATION: self.process}
        if self._patches_pods:
            patch = annotations_patch(annotations)
            await self._api.patch_pod(self._namespace, self._own_pod, patch)
        else:
            # RBAC cannot limit a right to this pod. This one does not let a gateway change images of others.
            await self._api.annotate_through_status(self._namespace, self._own_pod, annotations)
        self._cache.start()
        await self._cache.wait_synced()

    async def stop(self) -> None:
        """Stop following them."""
        if self._cache is not None:
            await self._cache.stop()

    def is_alive(self, process: str) -> bool:
        """Return whether the process still runs, as far as the watch knows."""
        if process == self.process:
            return True
        if self._cache is None or not process:
            return False
        return any(
            annotation(pod, _PROCESS_ANNOTATION) == process
            and (pod.get("status") or {}).get("phase") not in _ENDED_PHASES
            for pod in self._cache.objects.values()
        )

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when a process may have come or gone; returns the function that ends it."""
        if self._cache is None:
            return lambda: None
        return self._cache.subscribe(lambda _change, _pod: listener())
