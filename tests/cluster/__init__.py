"""The documented way over a cluster, walked by itself: `make e2e-cluster`, on whatever cluster kubectl points to.

`scenario` is the way of docs/kubernetes.md, `kubectl` the cluster; `load` posts alerts from within a pod. The test here walks the
same way over processes of this machine.
"""
