package dnsdiff

import (
	"slices"
)

// Difference is one way in which another server's answers may differ from ours.
type Difference struct {
	Name string
	Peer string // nsd or knot; empty: both
	Why  string // with the RFC that backs us
	// undo takes the difference out of c.Theirs, or of c.Ours, and nothing else. It
	// returns false when there is none.
	undo func(c *Case) bool
}

// Accepted are all differences that may be, in the order in which they are looked
// for. The test fails when one of them does not occur. Those about messages that
// are no query come first, then those about records.
func Accepted() []Difference {
	return []Difference{
		{"unreadable", "", "RFC 1035 section 4.1.1: FORMERR and NOTIMP answer what can't be interpreted; they say nothing", unreadable},
		{"trailing", "", "RFC 1035 section 4.1: a message ends with its additional section; they ignore what follows", trailing},
		{"query-records", "", "RFC 9619 section 3, RFC 1035 section 4.1.1: a query has no records but in its additional section; they ignore them", queryRecords},
		{"query-rcode", "knot", "RFC 1035 section 4.1.1: a response code is part of a response; NSD says FORMERR too", queryRcode},
		{"no-question", "", "RFC 7873 section 5.4: only a query with a cookie may lack the question", noQuestion},
		{"operation", "", "RFC 1035 section 4.1.1: NOTIMP for operations that are not there; they have NOTIFY and UPDATE, and Knot looks at version and class first", operation},
		{"badvers-do", "nsd", "RFC 3225 section 3: DO is copied into every answer", badversDO},
		{"badvers-options", "knot", "RFC 6891 section 6.1.3: a version that is not known is BADVERS, and its options mean nothing", badversOptions},
		{"bits", "nsd", "RFC 1035 section 4.1.1, RFC 4035 section 3.1.6: AA, TC, RA, Z and CD are not the client's to say; errors copy them", copiedBits},
		{"rd", "nsd", "RFC 1035 section 4.1.1: RD is copied into the response", clearedRD},
		{"class-question", "nsd", "RFC 5452 section 9.1: resolvers compare the question, so that it is in every answer to a readable query", classQuestion},
		{"error-question", "knot", "RFC 1035 section 4.1.1: what follows the header of a message that can't be interpreted, or of another operation, need not be a question", errorQuestion},
		{"error-opt", "", "RFC 6891 section 7: an OPT record answers an OPT record", errorOPT},
		{"class-any-aa", "", "RFC 1035 section 6.2: an answer to QCLASS * is never authoritative", classAnyAA},
		{"class-any-soa", "nsd", "RFC 2308 section 3: a negative answer carries the SOA", classAnySOA},
		{"transfer", "", "RFC 5936 section 2.2.1: NOTAUTH for a zone that is not here and REFUSED for one that is; section 4.2 leaves AXFR over UDP undefined", transfer},
		{"small-edns", "knot", "RFC 6891 section 6.2.3: a size below 512 is taken as 512", smallEDNS},
		{"meta-types", "knot", "RFC 3597 section 5: what is no known type is answered as any other type that is not there", metaTypes},
		{"any", "nsd", "RFC 8482 section 4.1: one set answers QTYPE ANY; which one is the server's choice", anyChoice},
		{"rrsig", "knot", "RFC 8482 section 7: QTYPE RRSIG is like ANY; ours has all of them", someRRSIG},
		{"additional", "knot", "RFC 9471 section 2: the additional section needs glue only; addresses of other targets are left out", additionalRecords},
		{"wildcard-itself", "nsd", "RFC 5155 section 7.2.3: a name that is there, be it a wildcard, has an NSEC3 record of its own that says all", wildcardItself},
		{"below-hash", "nsd", "RFC 5155 section 7.2.8: the owners of NSEC3 records are not names of the zone", belowHash},
		{"alias-meta", "", "RFC 1034 section 4.3.2 step 3a: an alias is followed unless there are records of the type asked for; they do not for RRSIG, NSEC or NSEC3", aliasMeta},
		{"alias-proof", "nsd", "RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.5: the proof is about the name that the alias leads to", aliasProof},
		{"alias-end", "knot", "RFC 1034 section 4.3.2 step 3a: aliases are followed through all zones served; Knot takes few steps and stays in the zone", aliasEnd},
		{"alias-loop", "nsd", "RFC 1034 section 4.3.2 step 3a: how many steps along a DNAME that leads to itself are given is the server's choice", aliasLoop},
		{"wildcard-ns", "knot", "RFC 4592 section 4.2: an NS record at a wildcard is no delegation of the names it stands for", wildcardNS},
		{"too-long", "knot", "RFC 6672 section 2.2: a name that a DNAME makes too long is YXDOMAIN", tooLong},
		{"octet-0", "knot", "RFC 1035 section 3.1, RFC 4034 section 6.1: labels may hold the octet 0, and are ordered by it", octet0},
		{"provable", "nsd", "RFC 5155 sections 7.2.1, 7.2.2 and 7.2.4: what is denied hangs on the closest provable encloser, which with opt-out lies above empty names", provable},
		{"wildcard-proof", "knot", "RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.6: a proof that a wildcard stands for the name, or that it is empty, is part of the answer", wildcardProof},
	}
}

// explain takes all accepted differences out of c and returns their names.
func (c *Case) explain(list []Difference) (names []string) {
	for _, d := range list {
		if (d.Peer == "" || d.Peer == c.Peer) && !c.Ours.equal(c.Theirs) && d.undo(c) {
			names = append(names, d.Name)
		}
	}
	return names
}

// errors says that both are answers without records.
func (c *Case) errors() bool {
	for _, s := range append(c.Ours.Sections[:], c.Theirs.Sections[:]...) {
		if len(s) > 0 {
			return false
		}
	}
	return !c.Ours.None && !c.Theirs.None
}

// formErr says that we have found the message malformed, and they have not.
func (c *Case) formErr() bool {
	return !c.Ours.None && !c.Theirs.None && c.Ours.Rcode == formErr && c.Theirs.Rcode != formErr
}

// same makes their answer ours.
func (c *Case) same() bool {
	*c.Theirs = *c.Ours
	return true
}

func unreadable(c *Case) bool {
	return c.Theirs.None && !c.Ours.None && (c.Ours.Rcode == formErr || c.Ours.Rcode == notImp) && c.Ours.Question == "" && c.same()
}

func trailing(c *Case) bool {
	return c.formErr() && c.Query.Whole && c.Query.After >= 0 && c.Query.After < len(c.Msg) && c.same()
}

func queryRecords(c *Case) bool {
	return c.formErr() && c.Query.Odd && c.same()
}

func queryRcode(c *Case) bool {
	return c.formErr() && c.Query.Flags&15 != 0 && c.same()
}

func noQuestion(c *Case) bool {
	return c.formErr() && c.Query.Counts[0] == 0 && (c.Theirs.Rcode == noError || c.Theirs.Rcode == badVers) && c.Theirs.EDNS && c.errors() && c.same()
}

func operation(c *Case) bool {
	return c.Query.Flags>>11&15 != 0 && c.Ours.Rcode == notImp && c.Theirs.Rcode != notImp && c.Theirs.Rcode != noError && c.errors() && c.same()
}

func badversDO(c *Case) bool {
	if c.Ours.Rcode != badVers || c.Theirs.Rcode != badVers || !c.Ours.DO || c.Theirs.DO {
		return false
	}
	c.Theirs.DO = true
	return true
}

func badversOptions(c *Case) bool {
	if c.Ours.Rcode != badVers {
		return false
	}
	if c.Theirs.Rcode == formErr && c.errors() {
		return c.same()
	}
	if c.Theirs.Rcode != badVers || !slices.Equal(c.Theirs.Options, []uint16{3}) {
		return false
	}
	c.Theirs.Options = nil
	return true
}

func copiedBits(c *Case) bool {
	const bits = flagAA | flagTC | 1<<4 | 1<<5 | 1<<6 | 1<<7
	if !c.errors() || c.Theirs.Rcode == noError || c.Theirs.Flags&bits&^c.Query.Flags != 0 || c.Theirs.Flags&bits == 0 {
		return false
	}
	c.Theirs.Flags &^= bits
	return true
}

func clearedRD(c *Case) bool {
	if !c.errors() || c.Theirs.Rcode != formErr || c.Query.Flags&flagRD == 0 || c.Theirs.Flags&flagRD != 0 {
		return false
	}
	c.Theirs.Flags |= flagRD
	return true
}

func classQuestion(c *Case) bool {
	if c.Query.Class == classIN || c.Query.Class == classANY || c.Ours.Rcode != refused || c.Theirs.Question != "" || c.Ours.Question == "" {
		return false
	}
	c.Theirs.Question = c.Ours.Question
	return true
}

func errorQuestion(c *Case) bool {
	if !c.errors() || c.Ours.Rcode != formErr && c.Ours.Rcode != notImp || c.Ours.Question != "" || c.Theirs.Question == "" {
		return false
	}
	c.Theirs.Question = ""
	return true
}

func errorOPT(c *Case) bool {
	if !c.errors() || c.Ours.Rcode != formErr && c.Ours.Rcode != notImp || !c.Ours.EDNS || c.Theirs.EDNS {
		return false
	}
	c.Theirs.EDNS, c.Theirs.Size, c.Theirs.DO, c.Theirs.Options = true, c.Ours.Size, c.Ours.DO, c.Ours.Options
	return true
}

func classAnyAA(c *Case) bool {
	if c.Query.Class != classANY || c.Theirs.Flags&flagAA == 0 || c.Ours.Flags&flagAA != 0 {
		return false
	}
	c.Theirs.Flags &^= flagAA
	return true
}

func classAnySOA(c *Case) bool {
	if c.Query.Class != classANY {
		return false
	}
	for _, r := range c.Ours.Sections[authority] {
		if (r.Type == typeSOA || covers(r) == typeSOA) && !slices.Contains(c.Theirs.Sections[authority], r) {
			c.Theirs.Sections[authority] = append(c.Theirs.Sections[authority], r)
		}
	}
	slices.SortFunc(c.Theirs.Sections[authority], Record.compare)
	return true
}

func transfer(c *Case) bool {
	if c.Query.Type != typeAXFR && c.Query.Type != typeIXFR || !c.errors() || c.Ours.Rcode != refused && c.Ours.Rcode != notAuth {
		return false
	}
	switch c.Theirs.Rcode {
	case refused, notAuth, notImp:
		c.Theirs.Rcode, c.Theirs.Question = c.Ours.Rcode, c.Ours.Question
		return true
	case formErr: // IXFR without the SOA that the client has
		return c.Query.Type == typeIXFR && c.same()
	}
	return false
}

func smallEDNS(c *Case) bool {
	return c.Query.OPT > 0 && be16(c.Msg[c.Query.OPT+3:]) < 512 && c.Theirs.Rcode == formErr && c.Ours.Rcode != formErr && c.same()
}

// metaTypes are those that Knot does not look for: 0, and those of queries.
func metaTypes(c *Case) bool {
	t := c.Query.Type
	if c.Theirs.Rcode != notImp || t != 0 && t != typeOPT && (t < 128 || t > 255) || c.Ours.Rcode != noError && c.Ours.Rcode != nxDomain && c.Ours.Rcode != yxDomain && c.Ours.Rcode != refused {
		return false
	}
	return c.same()
}
