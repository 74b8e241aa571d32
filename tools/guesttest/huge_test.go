package guesttest

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
)

const hugeTOML = `hostname = "ns2"
[network]
ipv4 = "10.0.2.15/24"
gateway4 = "10.0.2.2"
[dns.secondary]
retry_min = "1s"
retry_max = "1s"
refresh_min = "1s"
refresh_max = "1s"
[[dns.zones]]
origin = "huge.test"
primaries = ["10.0.2.2:%d"]
`

// hugeVersions are what the primary sends of each version of huge.test: the records
// of the n-th message, none at the end.
var hugeVersions = [...]func(n int) []string{
	1: func(int) []string { return nil },
	2: func(n int) (lines []string) { // without end
		for i := range 150 {
			lines = append(lines, fmt.Sprintf("n%d-%d.huge.test. 60 TXT %s", n, i, strings.Repeat("x", 250)))
		}
		return lines
	},
	3: func(n int) (lines []string) { // small, but with all answers made ahead it were 100 MB
		for i := 0; n < 5 && i < 200; i++ {
			lines = append(lines, fmt.Sprintf("n%d-%d.huge.test. 60 CNAME t.huge.test.", n, i))
		}
		for i := 0; n < 5 && i < 20; i++ {
			lines = append(lines, fmt.Sprintf("t.huge.test. 60 TYPE%d \\# 1000 %s", 1000+20*n+i, strings.Repeat("00", 1000)))
		}
		return lines
	},
	4: func(int) []string { return nil },
}

// hugePrimary answers on l for the version of huge.test that is set.
func hugePrimary(t *testing.T, l net.Listener, version *atomic.Int32) {
	serve := func(w dns.ResponseWriter, q *dns.Msg) {
		v := int(version.Load())
		send := func(lines ...string) bool {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Authoritative, m.Compress = true, true
			for _, line := range lines {
				rr, err := dns.NewRR(line)
				if err != nil {
					t.Error(err)
				}
				m.Answer = append(m.Answer, rr)
			}
			return w.WriteMsg(m) == nil
		}
		soa := fmt.Sprintf("huge.test. 60 SOA ns.huge.test. host.huge.test. %d 1 1 3600 60", v)
		if q.Question[0].Qtype == dns.TypeSOA {
			send(soa)
			return
		}
		ok := send(soa, "huge.test. 60 NS ns.huge.test.", "ns.huge.test. 60 A 192.0.2.1", fmt.Sprintf("version.huge.test. 60 TXT v%d", v))
		for n := 0; ok; n++ {
			lines := hugeVersions[v](n)
			if len(lines) == 0 {
				send(soa)
				return
			}
			ok = send(lines...)
		}
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(serve)}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
}

// TestSecondaryHuge boots the DNS appliance in 20 MiB as secondary of a primary whose
// zone grows beyond all bounds: it is refused by a bound that follows from the memory,
// the old version is served on, and the next one that fits is taken.
func TestSecondaryHuge(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var version atomic.Int32
	version.Store(1)
	hugePrimary(t, l, &version)
	v := guest.Variant{Machine: vm.Machines[0], GOAMD64: "v3"}
	g := guest.Boot(t, vm.Config{Image: images.Configured(t, "dns", "huge", fmt.Sprintf(hugeTOML, l.Addr().(*net.TCPAddr).Port), v.GOAMD64),
		Machine: v.Machine, CPU: guest.CPU(v.GOAMD64), RAM: 20, RNG: true, Append: "stats=1",
		Net: vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: 53}}}})
	var d net.Dialer
	guest.Up(t, g, d.DialContext, g.Addr("udp", 53), load.DNS("ns.huge.test"))
	status := func() string { return dig(t, g.Addr("udp", 53), "udp", "version.huge.test", "TXT") }
	until(t, status, `"v1"`)
	version.Store(2)
	until(t, g.Console, "too large: its records take more than")
	if got := status(); !strings.Contains(got, `"v1"`) {
		t.Errorf("after a zone that is too large:\n%s", got)
	}
	version.Store(3)
	until(t, status, `"v3"`)
	if got := dig(t, g.Addr("udp", 53), "udp", "n4-199.huge.test", "TYPE1099"); !strings.Contains(got, "ANSWER: 2") {
		t.Errorf("an answer that could not be made ahead:\n%s", got)
	}
	version.Store(4)
	until(t, status, `"v4"`)
}
