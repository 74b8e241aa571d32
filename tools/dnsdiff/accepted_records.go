package dnsdiff

import (
	"slices"
	"strings"
)

func anyChoice(c *Case) bool {
	o, t := c.Ours.Sections[answerSection], c.Theirs.Sections[answerSection]
	if c.Query.Type != typeANY || len(o) == 0 || len(t) == 0 || c.Ours.Rcode != c.Theirs.Rcode {
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

func aliasLoop(c *Case) bool {
	return len(c.Theirs.Sections[answerSection]) > 32 && c.Theirs.aliases() && c.fewer() && c.same()
}

func wildcardNS(c *Case) bool {
	t := c.Theirs.Sections[authority]
	return len(t) > 0 && t[0].Type == typeNS && strings.HasPrefix(t[0].Owner, "\x01*") && c.same()
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

func octet0(c *Case) bool {
	for at := 0; c.Query.Whole && c.Query.Name[at] != 0; {
		n := 1 + int(c.Query.Name[at])
		if strings.Contains(c.Query.Name[at+1:at+n], "\x00") {
			return c.Ours.Rcode == c.Theirs.Rcode && c.same()
		}
		at += n
	}
	return false
}

// provable is about names that an opt-out chain leaves out.
func provable(c *Case) bool {
	return len(c.Ours.Sections[answerSection]) == 0 && c.optOut() && c.sameButProofs() && c.same()
}

// optOut says whether our answer has an NSEC3 record with the flag (RFC 5155 section
// 3.1.2.1).
func (c *Case) optOut() bool {
	return slices.ContainsFunc(c.Ours.Sections[authority], func(r Record) bool { return r.Type == typeNSEC3 && len(r.Data) > 1 && r.Data[1] == 1 })
}

func wildcardProof(c *Case) bool {
	wild := c.Ours.Rcode == noError || strings.HasPrefix(c.Query.Name, "\x01*") && c.Ours.aliases()
	return wild && len(c.Theirs.Sections[authority]) < len(c.Ours.Sections[authority]) && c.sameButProofs() && c.same()
}

// sameButProofs says whether the answers differ in nothing but NSEC and NSEC3 records
// and their signatures.
func (c *Case) sameButProofs() bool {
	without := func(m *Message) *Message {
		n := *m
		n.Sections[authority] = slices.DeleteFunc(slices.Clone(m.Sections[authority]), func(r Record) bool {
			return r.Type == typeNSEC || r.Type == typeNSEC3 || covers(r) == typeNSEC || covers(r) == typeNSEC3
		})
		return &n
	}
	return without(c.Ours).equal(without(c.Theirs))
}
