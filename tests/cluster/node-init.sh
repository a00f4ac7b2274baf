#!/bin/bash
# The first process of a node, in mount, UTS, IPC, PID and network namespaces of its own. When it ends, all of the
# node ends with it, so it never does by itself. Arguments: NAME FOLDER SHARED KUBELET KUBE_PROXY
set -eu
name=$1 folder=$2 shared=$3 kubelet=$4 kube_proxy=$5

mount --make-rprivate /
# A network namespace lives as long as any copy of its mount: this node keeps nobody else's alive.
awk '$0 ~ / - nsfs / {print $5}' /proc/self/mountinfo | while read -r file; do umount --lazy "$file"; done
hostname "$name"

# All that the node needs of its host is moved to /run/node first, for the places where it is may be hidden below.
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/node /mnt/disk /mnt/bin /mnt/shared /mnt/lock
mount --bind "$folder" /mnt/node
if [ -e "$folder/disk.img" ]; then
  e2fsck -p "$folder/disk.img" || [ $? -eq 1 ] # it has no journal; 1 means: was not clean, is now
  mount -o loop,nobarrier "$folder/disk.img" /mnt/disk
else
  mount --bind "$folder/disk" /mnt/disk
fi
if [ -e "$folder/store" ]; then
  mkdir /mnt/images
  mount --bind "$(readlink -f "$folder/store")" /mnt/images
  mount -o remount,bind,ro /mnt/images
fi
mount --bind "$shared" /mnt/shared
touch /mnt/bin/kubelet /mnt/bin/kube-proxy
mount --bind "$kubelet" /mnt/bin/kubelet
mount --bind "$kube_proxy" /mnt/bin/kube-proxy
resolver=$(readlink -m /etc/resolv.conf)
mount --rbind /mnt /run
umount --recursive /mnt

# The node's disk: these directories are its own, everything else is its host's.
for directory in var/lib var/log mnt srv; do
  mkdir -p "/run/disk/$directory"
  mount --bind "/run/disk/$directory" "/$directory"
done
# Images that it has from the start (images_store.py).
if [ -e /run/node/containerd ] && [ ! -e /var/lib/containerd ]; then
  cp --archive /run/node/containerd /var/lib/.containerd
  mv /var/lib/.containerd /var/lib/containerd
fi
mkdir -p /var/lib/kubelet /mnt/shared
mount --bind /run/shared /mnt/shared
# Volumes that a pod mounts for others (mountPropagation: Bidirectional) need a shared mount.
mount --bind /var/lib/kubelet /var/lib/kubelet
mount --make-shared /var/lib/kubelet
case $resolver in
  /run/*) mkdir -p "$(dirname "$resolver")" && touch "$resolver" ;;
esac
mount --bind /run/node/resolv.conf "$resolver"

keep_running() {
  local program=$1
  shift
  while true; do
    "$@" >>"/run/node/log/$program.log" 2>&1 || true
    echo "$(date --iso-8601=seconds) $program ended" >>/run/node/log/restarts.log
    sleep 1
  done &
}

keep_running containerd containerd --config /run/node/containerd.toml
touch /run/node/booted
keep_running kubelet /run/bin/kubelet --config=/run/node/kubelet.yaml --kubeconfig=/run/node/kubelet.kubeconfig \
  --hostname-override="$name" --node-ip="$NODE_ADDRESS" --root-dir=/var/lib/kubelet --node-labels=type=real --v=2
keep_running kube-proxy /run/bin/kube-proxy --config=/run/node/kube-proxy.yaml --hostname-override="$name"
while true; do wait || sleep 1; done
