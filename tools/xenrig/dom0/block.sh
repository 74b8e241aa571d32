#!/bin/sh
# Gives a guest's disk its block device. libxl runs it with "add" or "remove" and
# XENBUS_PATH in the environment; the device is the target of the configuration.
# The backend waits for its number.
case $1 in
add)
	target=$(xenstore-read "$XENBUS_PATH/params")
	[ -b "$target" ] || {
		xenstore-write "$XENBUS_PATH/hotplug-error" "$target is no block device" "$XENBUS_PATH/hotplug-status" error
		exit 1
	}
	xenstore-write "$XENBUS_PATH/physical-device" "$(stat -c %t:%T "$target")" \
		"$XENBUS_PATH/physical-device-path" "$target" "$XENBUS_PATH/hotplug-status" connected
	;;
esac
exit 0
