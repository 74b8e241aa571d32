package dnsdiff

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ampoule/libos/config/zone"

	"github.com/miekg/dns"
)

// Case is a question and two answers to it.
type Case struct {
	Question
	Query        Query
	Peer         string // nsd or knot
	Ours, Theirs *Message
	raw          [2][]byte
	again        int // place among the questions that are asked again
}

// Query is what can be read of a question.
type Query struct {
	Flags  uint16
	Counts [4]uint16
	Whole  bool   // there is one question, and its name is one
	Name   string // lower case
	Type   uint16
	Class  uint16
	End    int             // of the question
	OPT    int             // where an OPT record right behind the question starts, else 0
	After  int             // where its records end, -1: can't be told
	Odd    bool            // there are records that a query does not have
	Hashed map[string]bool // owners of NSEC3 records in the zones
}

// ReadQuery reads what it can of a message.
func ReadQuery(msg []byte) (q Query) {
	if len(msg) < 12 {
		return q
	}
	be := binary.BigEndian
	q.Flags = be.Uint16(msg[2:])
	for i := range q.Counts {
		q.Counts[i] = be.Uint16(msg[4+2*i:])
	}
	var n zone.Name
	size, err := zone.Set(&n, msg[12:])
	if err != nil || 12+size+4 > len(msg) || q.Counts[0] != 1 {
		return q
	}
	q.Whole, q.Name, q.End = true, string(n.Bytes(0)), 12+size+4
	q.Type, q.Class = be.Uint16(msg[q.End-4:]), be.Uint16(msg[q.End-2:])
	if rest := msg[q.End:]; len(rest) >= 11 && rest[0] == 0 && be.Uint16(rest[1:]) == typeOPT {
		q.OPT = q.End
	}
	q.After, q.Odd = records(msg, q)
	return q
}

// records returns where the records of a message end, and whether there are others
// than an OPT record in the additional section.
func records(msg []byte, q Query) (at int, odd bool) {
	be := binary.BigEndian
	at = q.End
	opts := 0
	for section, n := range q.Counts[1:] {
		for range n {
			_, next, err := name(msg, at)
			if err != nil || next+10 > len(msg) || next+10+int(be.Uint16(msg[next+8:])) > len(msg) {
				return -1, true
			}
			if section == additional && be.Uint16(msg[next:]) == typeOPT && msg[at] == 0 {
				opts++
			} else {
				odd = true
			}
			at = next + 10 + int(be.Uint16(msg[next+8:]))
		}
	}
	return at, odd || opts > 1
}

// newCase reads both answers.
func newCase(q Question, peer string, hashed map[string]bool, ours, theirs []byte) (*Case, error) {
	c := &Case{Question: q, Query: ReadQuery(q.Msg), Peer: peer, raw: [2][]byte{ours, theirs}}
	c.Query.Hashed = hashed
	var err error
	if c.Ours, err = Parse(ours); err != nil {
		return c, fmt.Errorf("our answer: %w", err)
	}
	if c.Theirs, err = Parse(theirs); err != nil {
		return c, fmt.Errorf("the answer of %s: %w", peer, err)
	}
	return c, nil
}

// String shows the question as one would ask dig, and both answers.
func (c *Case) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n--- ours\n%s--- %s\n%s", c.Dig(), hex.EncodeToString(c.Msg), show(c.raw[0]), c.Peer, show(c.raw[1]))
	return b.String()
}

// show prints an answer, its records sorted.
func show(b []byte) string {
	if b == nil {
		return "no answer\n"
	}
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		return fmt.Sprintf("%x: %v\n", b, err)
	}
	for _, s := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		slices.SortFunc(s, func(a, b dns.RR) int { return strings.Compare(a.String(), b.String()) })
	}
	return fmt.Sprintf("%d bytes %s\n", len(b), strings.TrimSpace(m.String()))
}

// Dig is the question as arguments of dig, as far as dig can ask it.
func (q Question) Dig() string {
	r := ReadQuery(q.Msg)
	if !r.Whole {
		return "; a message that dig can't send"
	}
	args := []string{"dig"}
	if q.TCP {
		args = append(args, "+tcp")
	}
	for i, f := range []string{"+cdflag", "+adflag", "+zflag", "+raflag", "+recurse", "+tcflag", "+aaflag"} {
		if r.Flags&(1<<(4+i)) != 0 {
			args = append(args, f)
		}
	}
	if op := r.Flags >> 11 & 15; op != 0 {
		args = append(args, fmt.Sprintf("+opcode=%d", op))
	}
	args = append(args, "+qid="+fmt.Sprint(binary.BigEndian.Uint16(q.Msg)))
	args = append(args, digOPT(q.Msg, r)...)
	n, _, _ := dns.UnpackDomainName(q.Msg, 12)
	kind := dns.Type(r.Type).String()
	if r.Type == typeIXFR {
		kind += "=0"
	}
	if _, known := dns.TypeToString[r.Type]; !known || r.Type == 0 {
		kind = fmt.Sprintf("TYPE%d", r.Type)
	}
	return strings.Join(append(args, "-q", "'"+n+"'", "-t", kind, "-c", fmt.Sprintf("CLASS%d", r.Class)), " ")
}

// digOPT is the OPT record as arguments of dig.
func digOPT(msg []byte, r Query) []string {
	if r.OPT == 0 {
		return []string{"+noedns"}
	}
	be := binary.BigEndian
	opt := msg[r.OPT:]
	args := []string{fmt.Sprintf("+bufsize=%d", be.Uint16(opt[3:])), fmt.Sprintf("+edns=%d", opt[6]), "+nocookie"}
	if opt[7]&0x80 != 0 {
		args = append(args, "+dnssec")
	}
	if z := be.Uint16(opt[7:]) & 0x7fff; z != 0 {
		args = append(args, fmt.Sprintf("+ednsflags=%d", z))
	}
	for rest := opt[11:min(len(opt), 11+int(be.Uint16(opt[9:])))]; len(rest) >= 4; {
		n := min(len(rest), 4+int(be.Uint16(rest[2:])))
		args = append(args, fmt.Sprintf("+ednsopt=%d:%x", be.Uint16(rest), rest[4:n]))
		rest = rest[n:]
	}
	return args
}
