package siege

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// question is one that is asked again and again, and what must come back. It is
// written down from the zones in configs/dns, not asked of a server.
type question struct {
	name  string
	qtype uint16
	rcode int
	aa    bool
	// The sections, sorted, as miekg/dns shows records.
	answer, authority []string
}

const (
	forwardSOA = "example.org.\t300\tIN\tSOA\tns1.example.org. hostmaster.example.org. 2026010101 7200 3600 1209600 300"
	reverseSOA = "2.0.192.in-addr.arpa.\t300\tIN\tSOA\tns1.example.org. hostmaster.example.org. 2026010101 7200 3600 1209600 300"
)

// questions are asked each as often as the others: data, an alias, a wildcard, a
// delegation, types and names that are not there, a zone that is not here.
func questions() []question {
	return []question{
		{"www.example.org.", dns.TypeA, dns.RcodeSuccess, true,
			[]string{"example.org.\t3600\tIN\tA\t192.0.2.80", "www.example.org.\t3600\tIN\tCNAME\texample.org."}, nil},
		{"example.org.", dns.TypeMX, dns.RcodeSuccess, true, []string{"example.org.\t3600\tIN\tMX\t10 mail.example.org."}, nil},
		{"host7.example.org.", dns.TypeA, dns.RcodeSuccess, true, []string{"host7.example.org.\t3600\tIN\tA\t192.0.2.107"}, nil},
		{"a.b.apps.example.org.", dns.TypeAAAA, dns.RcodeSuccess, true, []string{"a.b.apps.example.org.\t3600\tIN\tAAAA\t2001:db8::90"}, nil},
		{"lab.example.org.", dns.TypeNS, dns.RcodeSuccess, false, nil, []string{"lab.example.org.\t3600\tIN\tNS\tns.lab.example.org."}},
		{"mail.example.org.", dns.TypeTXT, dns.RcodeSuccess, true, nil, []string{forwardSOA}},
		{"107.2.0.192.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, true,
			[]string{"107.2.0.192.in-addr.arpa.\t3600\tIN\tPTR\thost7.example.org."}, nil},
		{"nothing.example.org.", dns.TypeA, dns.RcodeNameError, true, nil, []string{forwardSOA}},
		{"7.2.0.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, true, nil, []string{reverseSOA}},
		{"example.net.", dns.TypeA, dns.RcodeRefused, false, nil, nil},
	}
}

// query is the question as a message.
func (q *question) query(id uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.Id, m.RecursionDesired = id, false
	return m
}

var errOther = errors.New("an answer to another query")

// check says what is wrong with an answer. A truncated one has nothing to compare
// and is the caller's.
func (q *question) check(id uint16, m *dns.Msg) error {
	if m.Id != id {
		return errOther
	}
	if !m.Response || len(m.Question) != 1 || !strings.EqualFold(m.Question[0].Name, q.name) || m.Question[0].Qtype != q.qtype {
		return fmt.Errorf("%s %s: not an answer to it:\n%v", q.name, dns.TypeToString[q.qtype], m)
	}
	if m.Truncated {
		return nil
	}
	if m.Rcode != q.rcode || m.Authoritative != q.aa || !slices.Equal(show(m.Answer), q.answer) || !slices.Equal(show(m.Ns), q.authority) {
		return fmt.Errorf("%s %s: wrong answer:\n%v", q.name, dns.TypeToString[q.qtype], m)
	}
	return nil
}

func show(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		out = append(out, rr.String())
	}
	slices.Sort(out)
	return out
}
