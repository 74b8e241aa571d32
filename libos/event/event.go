// Package event lets a goroutine wait for a device.
//
// A Source is a counter in memory that a device advances (a used index, a
// response producer). On the appliance the runtime's own network poller
// watches all sources, so waiting costs no thread, no lock and no interrupt
// while there is work. On the host, where drivers are tested against fake
// peers, waiting is a short sleep between two looks.
package event

import "ampoule/libos/rt/rtabi"

// Source is one place where work is announced. It must not be copied after
// Register. Its fields belong to the goroutine that waits on it; Counter and
// Arm point into memory that a device may touch.
type Source struct {
	rtabi.Source
}
