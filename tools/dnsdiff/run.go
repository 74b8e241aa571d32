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

// Compare asks ours and the peers all questions and compares the answers. Those to
// datagrams that differ are asked again over TCP: an answer that was too large is then
// whole.
func Compare(ours Server, peers map[string]Server, zones []Zone, questions []Question) (*Result, error) {
	r := &Result{Asked: len(questions), Used: map[string]int{}}
	mine, err := ours.Ask(questions)
	if err != nil {
		return nil, err
	}
	hashed := hashedNames(zones)
	for peer, server := range peers {
		theirs, err := server.Ask(questions)
		if err != nil {
			return nil, err
		}
		var again []*Case
		for i, q := range questions {
			c, err := newCase(q, peer, hashed, mine[i], theirs[i])
			if err != nil {
				return nil, fmt.Errorf("%w\n%s", err, c)
			}
			if r.Compared++; r.judge(c) {
				continue
			}
			if q.TCP || c.Ours.None || c.Theirs.None {
				r.Unexplained = append(r.Unexplained, c)
			} else {
				again = append(again, c)
			}
		}
		if err := r.whole(ours, server, hashed, again); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// judge says whether a case has none but accepted differences.
func (r *Result) judge(c *Case) bool {
	names := c.explain(Accepted())
	if !c.Ours.equal(c.Theirs) {
		return false
	}
	for _, n := range names {
		r.Used[n]++
	}
	return true
}

// whole compares cases over TCP, and what was said over UDP with that.
func (r *Result) whole(ours, server Server, hashed map[string]bool, again []*Case) error {
	questions := make([]Question, len(again))
	for i, c := range again {
		questions[i] = Question{Msg: c.Msg, TCP: true}
	}
	mine, err := ours.Ask(questions)
	if err != nil {
		return err
	}
	theirs, err := server.Ask(questions)
	if err != nil {
		return err
	}
	for i, udp := range again {
		r.Truncated++
		c, err := newCase(questions[i], udp.Peer, hashed, mine[i], theirs[i])
		if err != nil {
			return fmt.Errorf("%w\n%s", err, c)
		}
		full := *c.Ours
		if !r.judge(c) {
			r.Unexplained = append(r.Unexplained, c)
			continue
		}
		name, ok := udp.cut(&full, len(mine[i]))
		if !ok {
			r.Unexplained = append(r.Unexplained, udp)
			continue
		}
		r.Used[name]++
	}
	return nil
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
