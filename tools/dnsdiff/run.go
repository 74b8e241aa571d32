package dnsdiff

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Result is what came of a comparison.
type Result struct {
	Asked       int
	Compared    int            // pairs of answers
	Used        map[string]int // accepted differences, by name
	Truncated   int            // pairs that were compared over TCP as they did not fit
	Unexplained []*Case

	judged  func(c, witness *Case)
	another []*another // accepted by direct
}

// Names of the differences that the size of datagrams makes. They are found by asking
// again over TCP, so that they are not in Accepted.
const (
	// Room: what of an answer is left when it does not fit, and whether it does, hangs
	// on the compression of names (RFC 2181 section 9, RFC 1035 section 4.1.4).
	Room = "room"
	// GlueTC: TC is set when glue did not fit (RFC 9471 section 3.1).
	GlueTC = "glue-tc"
)

// Compare asks ours and both peers all questions and compares the answers. Those to
// datagrams that differ are asked again over TCP: an answer that was too large is then
// whole. Each peer is the other's witness: see Difference.
// judged, unless nil, is called with each case and its witness.
func Compare(ours Server, peers map[string]Server, zones []Zone, questions []Question, judged func(c, witness *Case)) (*Result, error) {
	r := &Result{Asked: len(questions), Used: map[string]int{}, judged: judged}
	hashed := hashedNames(zones)
	first, err := ask(ours, peers, hashed, questions)
	if err != nil {
		return nil, err
	}
	var open []*Case
	var again []Question
	for i, q := range questions {
		differs := false
		for peer, c := range first[i] {
			if r.Compared++; r.judge(c, first[i].witness(peer)) {
				continue
			}
			if q.TCP || c.Ours.None || c.Theirs.None {
				r.Unexplained = append(r.Unexplained, c)
				continue
			}
			differs = true
			c.again = len(again)
			open = append(open, c)
		}
		if differs {
			again = append(again, Question{Msg: q.Msg, TCP: true})
		}
	}
	whole, err := ask(ours, peers, hashed, again)
	if err != nil {
		return nil, err
	}
	for _, c := range open {
		r.whole(c, whole[c.again])
	}
	return r, r.direct(ours, peers, hashed)
}

// cases are those of one question, by peer.
type cases map[string]*Case

// witness is the case of the other peer, or nil.
func (cs cases) witness(peer string) *Case {
	for other, c := range cs {
		if other != peer {
			return c
		}
	}
	return nil
}

// ask asks everybody.
func ask(ours Server, peers map[string]Server, hashed map[string]bool, questions []Question) ([]cases, error) {
	all := make([]cases, len(questions))
	mine, err := ours.Ask(questions)
	if err != nil {
		return nil, err
	}
	for peer, server := range peers {
		theirs, err := server.Ask(questions)
		if err != nil {
			return nil, err
		}
		for i, q := range questions {
			c, err := newCase(q, peer, hashed, mine[i], theirs[i])
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, c)
			}
			if all[i] == nil {
				all[i] = cases{}
			}
			all[i][peer] = c
		}
	}
	return all, nil
}

// judge says whether a case has none but accepted differences, and counts them.
func (r *Result) judge(c, witness *Case) bool {
	if r.judged != nil {
		r.judged(c, witness)
	}
	names, ok := c.accept(witness)
	for _, n := range names {
		r.Used[n]++
	}
	return ok
}

// accept returns the differences of a case, if all are accepted.
func (c *Case) accept(witness *Case) (names []string, ok bool) {
	if c.Ours.equal(c.Theirs) {
		return nil, true
	}
	names, needs, ok := c.settle()
	if !ok || len(names) > 0 && (!c.proper() || c.Ours.None) {
		return nil, false
	}
	if needs != 0 {
		if witness == nil {
			return nil, false
		}
		if _, too, ok := witness.settle(); !ok || too&needs != 0 {
			return nil, false
		}
	}
	return names, true
}

// settle explains a copy of a case. It says which sections need a witness for that, and
// whether nothing is left.
func (c *Case) settle() (names []string, needs int, ok bool) {
	d, list := *c, Accepted()
	d.Ours, d.Theirs = c.Ours.clone(), c.Theirs.clone()
	names = d.explain(list)
	for _, a := range list {
		if slices.Contains(names, a.Name) {
			needs |= a.witness
		}
	}
	return names, needs, d.Ours.equal(d.Theirs)
}

// whole compares a case over TCP, and what was said over UDP with that.
func (r *Result) whole(udp *Case, tcp cases) {
	r.Truncated++
	c := tcp[udp.Peer]
	if !r.judge(c, tcp.witness(udp.Peer)) {
		r.Unexplained = append(r.Unexplained, c)
		return
	}
	// What the witness lacked over UDP it had now.
	if names, _, ok := udp.settle(); ok {
		for _, n := range names {
			r.Used[n]++
		}
		return
	}
	name, ok := udp.cut(c.Ours, len(c.raw[0]))
	if !ok {
		r.Unexplained = append(r.Unexplained, udp)
		return
	}
	r.Used[name]++
}

// cut says whether both answers over UDP are what may be left of the full one, which
// takes size bytes from us, and what the difference is called.
func (c *Case) cut(full *Message, size int) (name string, ok bool) {
	limit := 512
	if c.Query.OPT > 0 {
		limit = min(1232, max(512, int(be16(c.Msg[c.Query.OPT+3:]))))
	}
	// Ours has TC exactly when something that is needed does not fit; addresses that
	// are not are left out without a word.
	if !c.Ours.part(full) || size <= limit && !c.Ours.hasAll(full) {
		return "", false
	}
	tc, theirTC := c.Ours.Flags&flagTC != 0, c.Theirs.Flags&flagTC != 0
	switch {
	case tc && !theirTC && len(c.Ours.Sections[additional])+len(full.Sections[additional]) > 0 && !c.Theirs.hasAll(full):
		return GlueTC, true
	case tc || theirTC || !slices.Equal(c.Ours.Sections[additional], c.Theirs.Sections[additional]):
		return Room, true
	}
	return "", false
}

// part says whether m is a part of the full answer: with TC any, without it all but
// additional records.
func (m *Message) part(full *Message) bool {
	tc := m.Flags&flagTC != 0 // so the alias that the code is about may be among what is left out
	if m.Rcode != full.Rcode && !(tc && m.Rcode == noError) || m.Flags&^flagTC != full.Flags || m.Question != full.Question {
		return false
	}
	for s := range m.Sections {
		for _, r := range m.Sections[s] {
			if !slices.Contains(full.Sections[s], r) {
				return false
			}
		}
		if s != additional && !tc && len(m.Sections[s]) != len(full.Sections[s]) {
			return false
		}
	}
	return true
}

// hasAll says whether m has as many records as the full answer.
func (m *Message) hasAll(full *Message) bool {
	for s := range m.Sections {
		if len(m.Sections[s]) < len(full.Sections[s]) {
			return false
		}
	}
	return true
}

// be16 reads two octets of a message.
func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
