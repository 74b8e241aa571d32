//go:build !ampoule

package platform

import (
	"errors"

	"ampoule/libos/pvboot"
)

// Open fails: this build is a host program.
func Open() (*pvboot.Machine, error) {
	return nil, errors.New("this is a host build; an appliance runs in a VM, built with the tag ampoule (see make)")
}
