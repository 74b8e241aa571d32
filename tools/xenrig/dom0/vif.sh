#!/bin/sh
# Puts a guest's vif on its bridge. libxl runs it with "online" or "offline" and
# vif and XENBUS_PATH in the environment. It names no bridge: that is in the
# store. The backend waits until hotplug-status says connected.
case $1 in
online | add)
	bridge=$(xenstore-read "$XENBUS_PATH/bridge") || bridge=xenbr0
	{ ip link set "$vif" up && brctl addif "$bridge" "$vif"; } || {
		xenstore-write "$XENBUS_PATH/hotplug-error" "cannot put $vif on $bridge" "$XENBUS_PATH/hotplug-status" error
		exit 1
	}
	xenstore-write "$XENBUS_PATH/hotplug-status" connected
	;;
offline | remove)
	ip link set "$vif" down 2>/dev/null
	;;
esac
exit 0
