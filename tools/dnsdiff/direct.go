package dnsdiff

import (
	"slices"
)

// direct takes another look at what is not explained because each peer differs in what
// needs the other as witness. Other questions, whose answers have a witness, tell what
// ours must be:
//
//   - the same one in class IN, for one in class *;
//   - the same one for a type that both follow aliases for, and one for the name that
//     the aliases lead to;
//   - the same one for another type, where the name is not there.
func (r *Result) direct(ours Server, peers map[string]Server, hashed map[string]bool) error {
	var left, open []*Case
	var questions []Question
	for _, c := range r.Unexplained {
		_, needs, ok := c.settle()
		if !ok || needs == 0 || c.truncated() || !c.proper() {
			left = append(left, c)
			continue
		}
		open = append(open, c)
		questions = append(questions, c.other(c.Query.Name, c.Query.Type, classIN), c.other(c.Query.Name, typeA, classIN),
			c.other(c.Ours.end(c.Query.Name), c.Query.Type, classIN))
	}
	found, err := ask(ours, peers, hashed, questions)
	if err != nil {
		return err
	}
	for i, c := range open {
		if !c.follows(found[3*i], found[3*i+1], found[3*i+2]) {
			left = append(left, c)
			continue
		}
		names, _, _ := c.settle()
		for _, n := range names {
			r.Used[n]++
		}
	}
	r.Unexplained = left
	return nil
}

// other is the query of c with another question, over TCP.
func (c *Case) other(name string, rrtype, class uint16) Question {
	msg := append(slices.Clone(c.Msg[:12]), name...)
	msg = append(msg, byte(rrtype>>8), byte(rrtype), byte(class>>8), byte(class))
	return Question{Msg: append(msg, c.Msg[c.Query.End:]...), TCP: true}
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

// follows says whether our answer is what follows from those to other questions: in
// class IN, about the chain of aliases, and about its end.
func (c *Case) follows(in, chain, end cases) bool {
	ours, b, e := c.Ours, chain[c.Peer].Ours, end[c.Peer].Ours
	switch {
	case c.Query.Class == classANY:
		i := in[c.Peer]
		return (in.good() || i.follows(in, chain, end)) && i.Ours.Rcode == ours.Rcode && i.Ours.sections(ours) && ours.Flags&flagAA == 0
	case c.sameButProofs() && ours.aliases(): // so the proofs are all there is to see
		return end.good() && ours.Rcode == e.Rcode && slices.Equal(ours.Sections[authority], e.Sections[authority])
	case ours.Rcode == nxDomain && !ours.aliases(): // the type does not matter
		return chain.good() && b.Rcode == nxDomain && ours.Flags == b.Flags && ours.sections(b)
	case !ours.aliases() || !chain.good() || !end.good():
		return false
	}
	if (ours.Flags^b.Flags)&flagAA != 0 {
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
	// Beside what is said of the end there are proofs that wildcards stand for aliases.
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
