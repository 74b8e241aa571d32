package netpeer

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Counters are what a Linux peer's kernel counted since the segment was opened.
type Counters struct {
	ToGuest, FromGuest uint64 // frames that the tap device handed over and got
	// Dropped is frames to the guest that the tap device had no room for: the
	// guest took frames more slowly than they came, and never saw these.
	Dropped uint64
	// Overrun is datagrams that a socket of the host had no room for.
	Overrun uint64
}

// Counters reads the counters of a Direct segment. They are read one by one, not
// at one instant.
func (s *Segment) Counters() (c Counters, err error) {
	if s.tap == nil {
		return c, errors.New("netpeer: only a direct segment counts")
	}
	err = s.tap.ns.Do(func() error {
		dev, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		snmp, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		snmp6, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil {
			return err
		}
		c, err = parseCounters(string(dev), string(snmp), string(snmp6))
		return err
	})
	return c, err
}

// parseCounters reads /proc/net/dev, snmp and snmp6 (proc(5)).
func parseCounters(dev, snmp, snmp6 string) (c Counters, err error) {
	if _, text, ok := strings.Cut(dev, tapName+":"); ok {
		var skip [16]uint64
		all := make([]any, len(skip))
		for i := range skip {
			all[i] = &skip[i]
		}
		_, err = fmt.Sscan(text, all...)
		c.FromGuest, c.ToGuest, c.Dropped = skip[1], skip[9], skip[11]
	} else {
		err = errors.New("no tap device")
	}
	names, values := "", ""
	for line := range strings.Lines(snmp) {
		if strings.HasPrefix(line, "Udp:") {
			names, values = values, line
		}
	}
	column := strings.Fields(values)
	found := false
	for i, name := range strings.Fields(names) {
		if name == "RcvbufErrors" && i < len(column) {
			found = true
			_, e := fmt.Sscan(column[i], &c.Overrun)
			err = errors.Join(err, e)
		}
	}
	for line := range strings.Lines(snmp6) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "Udp6RcvbufErrors" {
			var n uint64
			_, e := fmt.Sscan(f[1], &n)
			c.Overrun += n
			err = errors.Join(err, e)
		}
	}
	if !found {
		err = errors.Join(err, errors.New("no UDP counters"))
	}
	if err != nil {
		err = fmt.Errorf("netpeer: the kernel's counters: %w", err)
	}
	return c, err
}
