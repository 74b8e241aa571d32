package netpeer

import "testing"

const (
	devText = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  tap0: 7001         11   12   13   14    15         16        17     8001      21   22   23   24    25      26         27
`
	snmpText = `Tcp: RtoAlgorithm RtoMin
Tcp: 1 200
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
Udp: 31 32 33 34 35 36
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
UdpLite: 0 0 0 0 91 0
`
	snmp6Text = "Udp6InErrors                    	2\nUdp6RcvbufErrors                	40\n"
)

func TestParseCounters(t *testing.T) {
	want := Counters{ToGuest: 21, FromGuest: 11, Dropped: 23, Overrun: 75}
	if c, err := parseCounters(devText, snmpText, snmp6Text); err != nil || c != want {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
	for name, text := range map[string][2]string{
		"no device": {"lo: 1 2 3", snmpText}, "short": {"tap0: 1 2 3", snmpText}, "no UDP": {devText, "Tcp: a\nTcp: 1\n"},
	} {
		if _, err := parseCounters(text[0], text[1], snmp6Text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestCounters: a frame that is injected is counted, and one that nobody takes
// is dropped in the end.
func TestCounters(t *testing.T) {
	s, err := Open(Options{Direct: true})
	if err != nil {
		t.Skipf("no tap device on this machine: %v", err)
	}
	defer s.Close()
	before, err := s.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		s.Inject(make([]byte, 60)) // an error is one way to say that the queue is full
	}
	after, err := s.Counters()
	if err != nil || after.Dropped-before.Dropped < 500 {
		t.Errorf("2000 frames into a queue of 1000 that nobody reads: %+v, %v", after, err)
	}
	wired, err := Open(Options{Kind: KindGVisor})
	if err != nil {
		t.Fatal(err)
	}
	defer wired.Close()
	if _, err := wired.Counters(); err == nil {
		t.Error("a segment without a tap device counts")
	}
}
