package dnsd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/appliances/dns/answer"
	"ampoule/libos/appliance"
	"ampoule/libos/config/zone/answers"
	"ampoule/libos/netif/fastudp"
	"ampoule/libos/telemetry/metrics"

	"github.com/miekg/dns"
)

// TestCounts asks in every way and compares the metrics with what was asked.
func TestCounts(t *testing.T) {
	cfg := testConfig(t)
	cfg.TLSPort = 853
	var err error
	if cfg.Zones[0], err = answers.Add(cfg.Zones[0]); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(cfg, nil, nil, &appliance.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s.counts, s.quickCounts = new([ways]counts), new(quickCounts)
	bytes, quick := 0, 0
	ask := func(w way, v4 bool, name string, qtype uint16, do bool, version uint8) {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(name, qtype)
		if do || version > 0 {
			m.SetEdns0(1232, do)
			m.IsEdns0().SetVersion(version)
		}
		q, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if w == overUDP {
			b := make([]byte, fastudp.MaxAnswer)
			n := s.Reply(b, copy(b, q), &fastudp.Peer{Addr: [2]uint64{1}, V4: v4})
			if n <= 0 {
				t.Fatalf("%s %d: %d", name, qtype, n)
			}
			bytes += n
			if s.quickCounts.bytes > 0 {
				quick++
			}
			return
		}
		s.reply(make([]byte, answer.MaxMessage), q, w, answer.Client{Addr: [2]uint64{1}, V4: v4})
	}
	for range 7 {
		ask(overUDP, true, "ns.example.", dns.TypeA, false, 0)
	}
	ask(overUDP, false, "ns.example.", dns.TypeA, true, 0)
	ask(overUDP, true, "ns.example.", dns.TypeCAA, false, 0)
	ask(overUDP, true, "ns.example.", dns.TypeTA, false, 0)
	ask(overUDP, true, "nowhere.example.", dns.TypeMX, false, 0)
	ask(overUDP, true, "elsewhere.", dns.TypeA, false, 0)
	ask(overUDP, true, "ns.example.", dns.TypeA, false, 1)
	ask(overTCP, true, "ns.example.", dns.TypeSOA, false, 0)
	ask(overTLS, false, "ns.example.", 4711, true, 0)
	if quick == 0 {
		t.Error("no answer was a ready one")
	}
	s.reply(make([]byte, 4096), []byte{1, 2, 3}, overUDP, answer.Client{})
	var w metrics.Writer
	s.collect(&w)
	const udp, tcp, tls = `server="dns://:%[1]d",zone=".",view="",proto="udp"`, `server="dns://:%[1]d",zone=".",view="",proto="tcp"`, `server="tls://:853",zone=".",view="",proto="tcp"`
	for _, line := range []string{
		`coredns_dns_requests_total{` + udp + `,family="1",type="A"} 9`,
		`coredns_dns_requests_total{` + udp + `,family="2",type="A"} 1`,
		`coredns_dns_requests_total{` + udp + `,family="1",type="CAA"} 1`,
		`coredns_dns_requests_total{` + udp + `,family="1",type="MX"} 1`,
		`coredns_dns_requests_total{` + udp + `,family="1",type="other"} 1`,
		`coredns_dns_requests_total{` + tcp + `,family="1",type="SOA"} 1`,
		`coredns_dns_requests_total{` + tls + `,family="2",type="other"} 1`,
		`coredns_dns_responses_total{` + udp + `,rcode="NXDOMAIN",plugin="ampoule"} 1`,
		`coredns_dns_responses_total{` + udp + `,rcode="REFUSED",plugin="ampoule"} 1`,
		`coredns_dns_responses_total{` + udp + `,rcode="BADVERS",plugin="ampoule"} 1`,
		`coredns_dns_do_requests_total{` + udp + `} 1`,
		`coredns_dns_do_requests_total{` + tls + `} 1`,
		`coredns_dns_response_size_bytes_sum{` + udp + `} ` + fmt.Sprint(bytes),
		`coredns_dns_response_size_bytes_count{` + udp + `} 13`,
		`coredns_dns_response_size_bytes_bucket{` + udp + `,le="+Inf"} 13`,
		`coredns_dns_request_duration_seconds_count{` + tcp + `} 1`,
		`ampoule_dns_unanswered_total{` + udp + `} 1`,
		`ampoule_dns_zone_loaded{zone="example."} 1`,
	} {
		if strings.Contains(line, "%") {
			line = fmt.Sprintf(line, cfg.Port)
		}
		if text := string(w.Bytes()); !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("the metrics lack %s:\n%s", line, text)
		}
	}
	for i, name := range rcodes {
		if name != "" && dns.RcodeToString[i] != name && i != 16 {
			t.Errorf("rcode %d is %s, not %s", i, dns.RcodeToString[i], name)
		}
	}
	for at, name := range types {
		if at < slotOther && dns.TypeToString[uint16(at)] != name {
			t.Errorf("type %d is %s, not %s", at, dns.TypeToString[uint16(at)], name)
		}
	}
}

// TestCountAllocations: counting costs no memory.
func TestCountAllocations(t *testing.T) {
	s, err := newServer(testConfig(t), nil, nil, &appliance.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s.counts, s.quickCounts = new([ways]counts), new(quickCounts)
	q := query(t, "ns.example.", dns.TypeA, 1)
	b := make([]byte, fastudp.MaxAnswer)
	peer := &fastudp.Peer{Addr: [2]uint64{1}, V4: true}
	if n := testing.AllocsPerRun(100, func() { s.Reply(b, copy(b, q), peer) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	out := make([]byte, answer.MaxMessage)
	if n := testing.AllocsPerRun(100, func() { s.slow(overTCP, true, q, out[:20], int64(time.Millisecond)) }); n != 0 {
		t.Errorf("%v allocations for TCP", n)
	}
}
