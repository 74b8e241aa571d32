//go:build !ampoule

package platform

import (
	"context"
	"errors"

	"ampoule/libos/device"
	"ampoule/libos/pvboot"
)

// Open fails: this build is a host program.
func Open() (*pvboot.Machine, error) {
	return nil, errors.New("this is a host build; an appliance runs in a VM, built with the tag ampoule (see make)")
}

// Disk fails like Open.
func Disk(context.Context, *pvboot.Machine) (device.Block, error) {
	_, err := Open()
	return nil, err
}
