#!/bin/busybox sh
# Brings dom0 up: file systems, modules, the bridge with the outer network card
# on it, the daemons of Xen in the order they need each other, then the agent.
# A failure goes to the console, where the rig waits for it.
export PATH=/bin:/usr/bin:/sbin:/usr/sbin
/bin/busybox --install -s /bin
. /etc/rig

fail() {
	echo "$FAILED $*"
	while :; do sleep 1000; done
}

# until_ok SECONDS COMMAND...: repeats a command until it succeeds
until_ok() {
	tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mkdir -p /run/xen /run/lock /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
while read -r m; do
	insmod "/modules/$m.ko" || fail "module $m"
done </modules/order
mount -t xenfs xenfs /proc/xen || fail "xenfs"

ip link set lo up
brctl addbr "$BRIDGE"
echo 0 >"/proc/sys/net/ipv6/conf/$BRIDGE/accept_dad"
ip link set "$BRIDGE" up
ip addr add "$IPV4" dev "$BRIDGE"
ip addr add "$IPV6" dev "$BRIDGE"
until_ok 60 test -e /sys/class/net/eth0 || fail "no network card"
# The bridge speaks for this card; it has no address of its own.
echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
ip link set eth0 up
brctl addif "$BRIDGE" eth0 || fail "bridge"
# Frames for a guest that is away must not reach the network behind the card:
# it would answer in the name of the guest, resets of its connections included.
echo 0 >"/sys/class/net/$BRIDGE/brif/eth0/unicast_flood" || fail "flooding"

xenstored --pid-file=/run/xen/xenstored.pid || fail "xenstored"
until_ok 60 xenstore-read / || fail "xenstored does not answer"
xen-init-dom0 >/dev/null || fail "xen-init-dom0"
xenconsoled --log=guest --log-dir=/var/log/xen --pid-file=/run/xen/xenconsoled.pid || fail "xenconsoled"

echo "$READY"
# In the foreground, so that this shell, process 1, reaps what others leave.
while :; do
	agent serve
	echo "agent ended with status $?"
	sleep 1
done
