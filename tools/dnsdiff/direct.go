package dnsdiff

import (
	"encoding/binary"
	"slices"
)

// direct takes another look at what is not explained because each peer differs in what
// needs the other as witness. Other questions, whose answers have a witness, tell what
// ours must be:
//
//   - the same one in class IN, for one in class *, or with room for 512 octets;
//   - the same one for a type that both follow aliases for, and one for the name that
//     the aliases lead to;
//   - the same one for another type, where the name is not there;
//   - the same one for a type that nobody has, where the type is not there;
//   - or each peer has some of our proofs, and between them they have all.
func (r *Result) direct(ours Server, peers map[string]Server, hashed map[string]bool) error {
	var left, open []*Case
	var questions []Question
	for _, c := range r.Unexplained {
		if _, ok := c.lacksWitness(); !ok {
			left = append(left, c)
			continue
		}
		open = append(open, c)
		questions = append(questions, c.other(c.Query.Name, c.Query.Type, classIN), c.other(c.Query.Name, typeA, classIN),
			c.other(c.Ours.end(c.Query.Name), c.Query.Type, classIN), c.other(c.Query.Name, typePrivate, classIN),
			c.other(c.Ours.end(c.Query.Name), typeA, classIN))
	}
	found, err := ask(ours, peers, hashed, questions)
	if err != nil {
		return err
	}
	for i, c := range open {
		f := found[5*i:]
		a := &another{c, f[0], f[1], f[2], f[3], f[4]}
		names, ok := a.accept(c)
		if !ok {
			left = append(left, c)
			continue
		}
		for _, n := range names {
			r.Used[n]++
		}
		r.another = append(r.another, a)
	}
	r.Unexplained = left
	return nil
}

// another is a case with those of the other questions: in class IN, for the chain of
// aliases, for its end, for a type that nobody has, and for what the chain asked for at
// its end.
type another struct {
	*Case
	in, chain, end, absent, chainEnd cases
}

// typePrivate is of those that RFC 6895 section 3.1 leaves to private use; no zone has
// it.
const typePrivate = 65280

// accept returns the differences of c, which is the case or one like it, if they are
// accepted for what the other questions tell.
func (a *another) accept(c *Case) (names []string, ok bool) {
	names, ok = c.lacksWitness()
	return names, ok && a.follows(c)
}

func (a *another) accepts(c *Case) bool {
	_, ok := a.accept(c)
	return ok
}

// lacksWitness returns the differences of a case, if all are accepted when there is a
// witness.
func (c *Case) lacksWitness() (names []string, ok bool) {
	names, needs, ok := c.settle()
	return names, ok && needs != 0 && !c.truncated() && c.proper()
}

// other is the query of c with another question, over TCP, with a size that Knot takes.
func (c *Case) other(name string, rrtype, class uint16) Question {
	msg := append(slices.Clone(c.Msg[:12]), name...)
	msg = append(msg, byte(rrtype>>8), byte(rrtype), byte(class>>8), byte(class))
	opt := len(msg) + c.Query.OPT - c.Query.End
	msg = append(msg, c.Msg[c.Query.End:]...)
	if c.smallOPT() {
		binary.BigEndian.PutUint16(msg[opt+3:], 512)
	}
	return Question{Msg: msg, TCP: true}
}

// good says whether all peers agree with us, but for accepted differences.
func (cs cases) good() bool {
	for peer, c := range cs {
		if _, ok := c.accept(cs.witness(peer)); !ok {
			return false
		}
	}
	return true
}

// follows says whether ours, which is c's answer, is what follows from those to the
// other questions.
func (a *another) follows(c *Case) bool {
	ours, b, e, none := c.Ours, a.chain[c.Peer].Ours, a.end[c.Peer].Ours, a.absent[c.Peer].Ours
	switch {
	case c.Query.Class == classANY || c.smallOPT():
		i := a.in[c.Peer]
		flags := i.Ours.Flags
		if c.Query.Class == classANY {
			flags &^= flagAA
		}
		return (a.in.good() || a.accepts(i)) && i.Ours.Rcode == ours.Rcode && i.Ours.sections(ours) && ours.Flags == flags
	case ours.aliases() && c.sameButProofs() && (c.together(a.in) || a.end.good() && ours.Rcode == e.Rcode &&
		slices.Equal(ours.Sections[authority], e.Sections[authority])): // the proofs are all there is to see
		return true
	case ours.Rcode == nxDomain && !ours.aliases(): // the type does not matter
		return a.chain.good() && b.Rcode == nxDomain && ours.Flags == b.Flags && ours.sections(b)
	case ours.Rcode == noError && len(ours.Sections[answerSection]) == 0: // nor one that is not there
		return a.absent.good() && none.Rcode == noError && ours.Flags == none.Flags && ours.sections(none)
	}
	return ours.aliases() && (a.chain.good() || a.chain[c.Peer].together(a.chain)) && a.end.good() && a.joined(c)
}

// joined says whether our answer is the chain of aliases and what is said of its end.
func (a *another) joined(c *Case) bool {
	ours, b, e := c.Ours, a.chain[c.Peer].Ours, a.end[c.Peer].Ours
	if ours.Flags != b.Flags {
		return false
	}
	if ours.steps(c.Query.Name) { // there is no end: all of it is chain
		return ours.Rcode == b.Rcode && ours.sections(b)
	}
	rcode := e.Rcode
	if rcode == refused { // out of all zones
		rcode = noError
	}
	want := e.Sections[answerSection]
	for _, r := range b.Sections[answerSection] {
		if t := r.Type; t == typeCNAME || t == typeDNAME || covers(r) == typeCNAME || covers(r) == typeDNAME {
			want = append(want[:len(want):len(want)], r)
		}
	}
	slices.SortFunc(want, Record.compare)
	if ours.Rcode != rcode || !slices.Equal(ours.Sections[answerSection], slices.Compact(want)) ||
		!slices.Equal(ours.Sections[additional], e.Sections[additional]) {
		return false
	}
	// Beside what is said of the end there are all proofs that wildcards stand for aliases.
	of := a.chainEnd[c.Peer].Ours.Sections[authority]
	for _, r := range b.Sections[authority] {
		if isProof(r) && !slices.Contains(of, r) && !slices.Contains(ours.Sections[authority], r) {
			return false
		}
	}
	for _, r := range e.Sections[authority] {
		if !slices.Contains(ours.Sections[authority], r) {
			return false
		}
	}
	for _, r := range ours.Sections[authority] {
		if !slices.Contains(e.Sections[authority], r) && !(slices.Contains(b.Sections[authority], r) && isProof(r)) {
			return false
		}
	}
	return true
}

// together says whether the peers, who were asked the same in class IN, each gave a part
// of our proofs, and together all of them, and nothing else differs.
func (c *Case) together(in cases) bool {
	ours := c.Ours.Sections[authority]
	given := map[Record]bool{}
	for _, x := range in {
		if !x.sameButProofs() || !x.Ours.sections(c.Ours) {
			return false
		}
		for _, r := range x.Theirs.Sections[authority] {
			if !slices.Contains(ours, r) {
				return false
			}
			given[r] = true
		}
	}
	return !slices.ContainsFunc(ours, func(r Record) bool { return !given[r] })
}

// isProof says whether a record is NSEC, NSEC3 or a signature of them.
func isProof(r Record) bool {
	return r.Type == typeNSEC || r.Type == typeNSEC3 || covers(r) == typeNSEC || covers(r) == typeNSEC3
}

// sections says whether two answers have the same records.
func (m *Message) sections(o *Message) bool {
	for s := range m.Sections {
		if !slices.Equal(m.Sections[s], o.Sections[s]) {
			return false
		}
	}
	return true
}

// end is the name that the aliases in the answer section lead to.
func (m *Message) end(name string) string {
	for range m.Sections[answerSection] {
		i := slices.IndexFunc(m.Sections[answerSection], func(r Record) bool { return r.Type == typeCNAME && r.Owner == name })
		if i < 0 {
			break
		}
		name = m.Sections[answerSection][i].Data
	}
	return name
}
