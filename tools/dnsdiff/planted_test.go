package dnsdiff

import (
	"fmt"
	"testing"
)

// faults are wrong things that an answer of ours could say.
var faults = []struct {
	name  string
	plant func(c *Case, m *Message) bool // false: there is nothing to do it to
}{
	{"rcode", func(_ *Case, m *Message) bool {
		m.Rcode = map[int]int{noError: nxDomain}[m.Rcode]
		return true
	}},
	{"servfail", func(_ *Case, m *Message) bool { m.Rcode = servFail; return true }},
	{"aa", func(_ *Case, m *Message) bool { m.Flags ^= flagAA; return true }},
	{"ad", func(_ *Case, m *Message) bool { m.Flags ^= 1 << 5; return true }},
	{"question", func(_ *Case, m *Message) bool { m.Question += "\x00\x00\x01\x00\x01"; return true }},
	{"edns", func(_ *Case, m *Message) bool { m.EDNS = !m.EDNS; return true }},
	{"size", func(_ *Case, m *Message) bool { m.Size++; return m.EDNS }},
	{"z", func(_ *Case, m *Message) bool { m.Z |= 0x40; return m.EDNS }},
	{"silence", func(_ *Case, m *Message) bool { *m = Message{None: true}; return true }},
	{"answer dropped", drop(answerSection)}, {"authority dropped", drop(authority)}, {"additional dropped", drop(additional)},
	{"answer altered", alter(answerSection)}, {"authority altered", alter(authority)}, {"additional altered", alter(additional)},
	{"answer's TTL", older(answerSection)}, {"authority's TTL", older(authority)}, {"additional's TTL", older(additional)},
	{"answer added", add(answerSection)}, {"authority added", add(authority)}, {"additional added", add(additional)},
}

func drop(s int) func(*Case, *Message) bool {
	return func(_ *Case, m *Message) bool {
		if len(m.Sections[s]) == 0 {
			return false
		}
		m.Sections[s] = m.Sections[s][1:]
		return true
	}
}

func alter(s int) func(*Case, *Message) bool {
	return func(_ *Case, m *Message) bool {
		if len(m.Sections[s]) == 0 {
			return false
		}
		r := &m.Sections[s][len(m.Sections[s])-1]
		if r.Data == "" {
			return false
		}
		b := []byte(r.Data)
		b[len(b)-1] ^= 1
		r.Data = string(b)
		return true
	}
}

func older(s int) func(*Case, *Message) bool {
	return func(_ *Case, m *Message) bool {
		if len(m.Sections[s]) == 0 {
			return false
		}
		m.Sections[s][0].TTL++
		return true
	}
}

func add(s int) func(*Case, *Message) bool {
	return func(c *Case, m *Message) bool {
		r := Record{Owner: c.Query.Name, Type: typeA, Class: classIN, TTL: 60, Data: "\x06\x06\x06\x06"}
		if r.Owner == "" {
			r.Owner = "\x00"
		}
		m.Sections[s] = append([]Record{r}, m.Sections[s]...)
		return true
	}
}

// samples are cases in which a difference was accepted, with their witnesses.
type samples map[string][][2]*Case

// keptSamples is how many cases each difference is tested with.
const keptSamples = 12

func (s samples) keep(c, witness *Case) {
	names, ok := c.accept(witness)
	if !ok {
		return
	}
	for _, n := range names {
		if k := c.Peer + " " + n; len(s[k]) < keptSamples {
			s[k] = append(s[k], [2]*Case{c, witness})
		}
	}
}

// planted says whether a case with a fault in our answer is accepted.
func planted(c, witness *Case, plant func(*Case, *Message) bool) (accepted, done bool) {
	d, w := *c, *witness
	d.Ours = c.Ours.clone()
	if !plant(c, d.Ours) || d.Ours.equal(c.Ours) || theirs(c, d.Ours) {
		return false, false
	}
	w.Ours = d.Ours.clone()
	_, accepted = d.accept(&w)
	return accepted, true
}

// theirs says that a fault has made our records those of the peer, which is no fault.
func theirs(c *Case, faulty *Message) bool {
	return faulty.equal(c.Theirs) || faulty.sections(c.Theirs) && !c.Ours.sections(c.Theirs)
}

// testPlanted: whatever is accepted with our answer as it is, is not with a fault in
// it.
func testPlanted(t *testing.T, all samples) {
	t.Helper()
	for name, list := range all {
		tried := 0
		reported := map[string]bool{}
		for _, s := range list {
			for _, f := range faults {
				accepted, done := planted(s[0], s[1], f.plant)
				if done {
					tried++
				}
				if accepted && !reported[f.name] {
					reported[f.name] = true
					t.Errorf("%s: a wrong answer is accepted (%s):\n%s", name, f.name, s[0])
				}
			}
		}
		if tried < 5 {
			t.Errorf("%s: tried with %d faults only", name, tried)
		}
	}
	for _, d := range Accepted() {
		peers := []string{d.Peer}
		if d.Peer == "" {
			peers = []string{"nsd", "knot"}
		}
		found := false
		for _, p := range peers {
			found = found || len(all[fmt.Sprintf("%s %s", p, d.Name)]) > 0
		}
		if !found {
			t.Errorf("%s: no case to plant a fault in", d.Name)
		}
	}
}

// testPlantedDirect is testPlanted for what direct accepts.
func testPlantedDirect(t *testing.T, all []*another) {
	t.Helper()
	tried := 0
	reported := map[string]bool{}
	for _, a := range all {
		for _, f := range faults {
			d := *a.Case
			d.Ours = a.Ours.clone()
			if !f.plant(a.Case, d.Ours) || d.Ours.equal(a.Ours) || theirs(a.Case, d.Ours) {
				continue
			}
			tried++
			if _, accepted := a.accept(&d); accepted && !reported[f.name] {
				reported[f.name] = true
				t.Errorf("a wrong answer is accepted without a witness (%s):\n%s", f.name, a)
			}
		}
	}
	t.Logf("%d cases accepted without a witness, %d faults planted in them", len(all), tried)
	if tried < 100 {
		t.Errorf("tried with %d faults only", tried)
	}
}
