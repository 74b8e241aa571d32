package dnsdiff

import (
	"slices"
	"strings"
)

func anyChoice(c *Case) bool {
	o, t := c.Ours.Sections[answerSection], c.Theirs.Sections[answerSection]
	if c.Query.Type != typeANY || c.Ours.aliases() || len(o) == 0 || len(t) == 0 || c.Ours.Rcode != c.Theirs.Rcode {
		return false
	}
	// Where both have a set, it is the same.
	for _, r := range t {
		both := func(x Record) bool { return x.Owner == r.Owner && x.Type == r.Type && covers(x) == covers(r) }
		if slices.ContainsFunc(o, both) && !slices.Contains(o, r) {
			return false
		}
	}
	c.Theirs.Sections[answerSection] = o
	return true
}

// covers returns the type that an RRSIG record signs, or 0.
func covers(r Record) uint16 {
	if r.Type != typeRRSIG || len(r.Data) < 2 {
		return 0
	}
	return uint16(r.Data[0])<<8 | uint16(r.Data[1])
}

func someRRSIG(c *Case) bool {
	o, t := c.Ours.Sections[answerSection], c.Theirs.Sections[answerSection]
	if c.Query.Type != typeRRSIG || len(t) == 0 || len(t) >= len(o) {
		return false
	}
	for _, r := range o {
		if r.Type != typeRRSIG {
			return false
		}
	}
	for _, r := range t {
		if !slices.Contains(o, r) {
			return false
		}
	}
	c.Theirs.Sections[answerSection] = o
	return true
}

// proofs says whether all records of a are in b, and what b has beyond them is
// NSEC3 with its signatures.
func proofs(a, b []Record) bool {
	for _, r := range a {
		if !slices.Contains(b, r) {
			return false
		}
	}
	for _, r := range b {
		if !slices.Contains(a, r) && r.Type != typeNSEC3 && covers(r) != typeNSEC3 {
			return false
		}
	}
	return true
}

func wildcardItself(c *Case) bool {
	o, t := c.Ours.Sections[authority], c.Theirs.Sections[authority]
	if !strings.HasPrefix(c.Query.Name, "\x01*") || c.Ours.Rcode != noError || len(c.Ours.Sections[answerSection]) > 0 || len(t) <= len(o) || !proofs(o, t) {
		return false
	}
	c.Theirs.Sections[authority] = o
	return true
}

// belowHash is about names at or below hashed ones.
func belowHash(c *Case) bool {
	hashed := false
	for at := 0; c.Query.Whole && c.Query.Name[at] != 0; at += 1 + int(c.Query.Name[at]) {
		hashed = hashed || c.Query.Hashed[c.Query.Name[at:]]
	}
	return hashed && c.sameButProofs() && c.same()
}

// additionalRecords are addresses of what mail exchangers and the like are called.
func additionalRecords(c *Case) bool {
	o, t := c.Ours.Sections[additional], c.Theirs.Sections[additional]
	if len(o) >= len(t) {
		return false
	}
	var targets []string
	for _, r := range c.Ours.Sections[answerSection] {
		switch fixed, _ := layout(r.Type); r.Type {
		case typeNS, typeMX, typeSRV:
			targets = append(targets, r.Data[fixed:])
		case typeSVCB, typeHTTPS: // parameters follow the name
			_, end, err := name([]byte(r.Data), fixed)
			if err != nil {
				return false
			}
			target := r.Data[fixed:end]
			if target == "\x00" { // the owner itself (RFC 9460 section 2.5)
				target = r.Owner
			}
			targets = append(targets, target)
		}
	}
	for _, r := range t {
		if !slices.Contains(o, r) && !slices.Contains(targets, r.Owner) {
			return false
		}
	}
	c.Theirs.Sections[additional] = o
	return true
}

// aliases says whether the first alias found is in the answer section.
func (m *Message) aliases() bool {
	return slices.ContainsFunc(m.Sections[answerSection], func(r Record) bool { return r.Type == typeCNAME || r.Type == typeDNAME })
}

// fewer says that all of their answer section is in ours, which has more.
func (c *Case) fewer() bool {
	o, t := c.Ours.Sections[answerSection], c.Theirs.Sections[answerSection]
	return len(t) < len(o) && !slices.ContainsFunc(t, func(r Record) bool { return !slices.Contains(o, r) })
}

func aliasMeta(c *Case) bool {
	switch c.Query.Type {
	case typeRRSIG, typeNSEC, typeNSEC3:
		return c.Ours.aliases() && c.fewer() && c.same()
	}
	return false
}

func aliasProof(c *Case) bool {
	moved := slices.ContainsFunc(c.Ours.Sections[answerSection], func(r Record) bool { return r.Type == typeDNAME })
	return moved && c.sameButProofs() && c.same()
}

func aliasEnd(c *Case) bool {
	return c.Ours.aliases() && c.Theirs.aliases() && (c.fewer() || c.leaves()) && c.same()
}

// leaves says that an alias leads to another zone that is served, whose negative
// answer they leave out.
func (c *Case) leaves() bool {
	return slices.Equal(c.Ours.Sections[answerSection], c.Theirs.Sections[answerSection]) && len(c.Theirs.Sections[authority]) == 0
}

// aliasLoop is about answers that are nothing but steps along DNAME records which both
// have, and of which they take fewer.
func aliasLoop(c *Case) bool {
	const many = 32
	o, t := c.Ours.Sections[answerSection], c.Theirs.Sections[answerSection]
	if len(t) <= many || !c.fewer() || !c.Ours.steps(c.Query.Name) {
		return false
	}
	for _, r := range o {
		if r.Type != typeCNAME && !slices.Contains(t, r) {
			return false
		}
	}
	if c.Ours.Rcode == yxDomain && c.Theirs.Rcode == noError { // which is many steps away
		c.Theirs.Rcode = yxDomain
	}
	c.Theirs.Sections[answerSection] = o
	return true
}

// ourSteps is how many steps we take.
const ourSteps = 64

// steps says whether the answer section has as many aliases as we follow, each the
// next from name as a DNAME record there makes it (RFC 6672 sections 2.2 and 3.1), or
// with YXDOMAIN those up to a name that would be too long.
func (m *Message) steps(name string) bool {
	aliases, taken := map[string]Record{}, -ourSteps
	var moves []Record
	for _, r := range m.Sections[answerSection] {
		if r.Type == typeCNAME {
			aliases[r.Owner] = r
		} else if r.Type == typeDNAME {
			moves = append(moves, r)
		}
	}
	for {
		alias, ok := aliases[name]
		if !ok {
			if m.Rcode == yxDomain {
				return taken+ourSteps == len(aliases) && slices.ContainsFunc(moves, func(d Record) bool {
					prefix, below := strings.CutSuffix(name, d.Owner)
					return below && len(prefix)+len(d.Data) > 255
				})
			}
			return taken == 0 && len(aliases) == ourSteps
		}
		made := slices.ContainsFunc(moves, func(d Record) bool {
			prefix, below := strings.CutSuffix(name, d.Owner)
			return below && prefix != "" && alias.Data == prefix+d.Data && alias.TTL == d.TTL
		})
		if taken++; !made || taken > 0 {
			return false
		}
		name = alias.Data
	}
}

func wildcardNS(c *Case) bool {
	t := c.Theirs.Sections[authority]
	return c.Ours.Rcode == noError && c.Theirs.Rcode == noError && len(t) > 0 && t[0].Type == typeNS && strings.HasPrefix(t[0].Owner, "\x01*") && c.same()
}

func tooLong(c *Case) bool {
	if c.Ours.Rcode != yxDomain || c.Theirs.Rcode != nxDomain && c.Theirs.Rcode != yxDomain {
		return false
	}
	for _, r := range c.Ours.Sections[answerSection] {
		if !slices.Contains(c.Theirs.Sections[answerSection], r) {
			return false
		}
	}
	return c.same()
}

// octet0 is about names with the octet 0 in a label: Knot has another order of names,
// or does not find them at all.
func octet0(c *Case) bool {
	zero := false
	for at := 0; c.Query.Whole && c.Query.Name[at] != 0; {
		n := 1 + int(c.Query.Name[at])
		zero = zero || strings.Contains(c.Query.Name[at+1:at+n], "\x00")
		at += n
	}
	if !zero || c.Ours.Rcode != c.Theirs.Rcode {
		return false
	}
	lost := c.Ours.Rcode == nxDomain && c.Theirs.Flags&flagAA == 0 && c.errorsOfTheirs()
	return (lost || c.sameButProofs()) && c.same()
}

// errorsOfTheirs says that their answer has no records.
func (c *Case) errorsOfTheirs() bool {
	for _, s := range c.Theirs.Sections {
		if len(s) > 0 {
			return false
		}
	}
	return true
}

// provable is about names that an opt-out chain leaves out.
func provable(c *Case) bool {
	return c.Query.Whole && len(c.Ours.Sections[answerSection]) == 0 && c.optOut() && c.sameButProofs() && c.same()
}

// optOut says whether our answer has an NSEC3 record with the flag (RFC 5155 section
// 3.1.2.1).
func (c *Case) optOut() bool {
	return slices.ContainsFunc(c.Ours.Sections[authority], func(r Record) bool { return r.Type == typeNSEC3 && len(r.Data) > 1 && r.Data[1] == 1 })
}

// wildcardProof is about proofs of which they have a part.
func wildcardProof(c *Case) bool {
	o, t := c.Ours.Sections[authority], c.Theirs.Sections[authority]
	wild := c.Ours.Rcode == noError || strings.HasPrefix(c.Query.Name, "\x01*") && c.Ours.aliases()
	if !wild || len(t) >= len(o) || slices.ContainsFunc(t, func(r Record) bool { return !slices.Contains(o, r) }) {
		return false
	}
	return c.sameButProofs() && c.same()
}

// sameButProofs says whether the answers differ in nothing but NSEC and NSEC3 records
// and their signatures.
func (c *Case) sameButProofs() bool {
	without := func(m *Message) *Message {
		n := *m
		n.Sections[authority] = slices.DeleteFunc(slices.Clone(m.Sections[authority]), isProof)
		return &n
	}
	return without(c.Ours).equal(without(c.Theirs))
}
