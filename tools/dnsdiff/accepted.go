package dnsdiff

import (
	"slices"
)

// Difference is one way in which another server's answers may differ from ours.
type Difference struct {
	Name string
	Peer string // nsd or knot; empty: both
	Why  string // with the RFC that backs us
	// records says that it is about the records of whole answers: not of those that
	// say TC, which are compared over TCP.
	records bool
	// witness is the sections, as bits, that the other server must have as we do in
	// answer to the same question, but for differences that need no witness. 0: none.
	witness int
	// undo takes the difference out of c.Theirs, or of c.Ours, and nothing else. It
	// returns false when there is none.
	undo func(c *Case) bool
}

// Bits of Difference.witness.
const (
	inAnswer = 1 << iota
	inAuthority
	inAdditional
	inAll = inAnswer | inAuthority | inAdditional
)

// Accepted are all differences that may be, in the order in which they are looked
// for. The test fails when one of them does not occur. Those about messages that
// are no query come first, then those about records.
func Accepted() []Difference {
	return []Difference{
		{Name: "unreadable", undo: unreadable,
			Why: "RFC 1035 section 4.1.1: FORMERR and NOTIMP answer what can't be interpreted; they say nothing"},
		{Name: "trailing", undo: trailing,
			Why: "RFC 1035 section 4.1: a message ends with its additional section; they ignore what follows"},
		{Name: "query-records", undo: queryRecords,
			Why: "RFC 9619 section 3, RFC 1035 section 4.1.1: a query has no records but in its additional section; they ignore them"},
		{Name: "query-rcode", Peer: "knot", undo: queryRcode,
			Why: "RFC 1035 section 4.1.1: a response code is part of a response; NSD says FORMERR too"},
		{Name: "no-question", undo: noQuestion,
			Why: "RFC 7873 section 5.4: only a query with a cookie may lack the question"},
		{Name: "operation", undo: operation,
			Why: "RFC 1035 section 4.1.1: NOTIMP for operations that are not there; NSD has NOTIFY, Knot NOTIFY and UPDATE, and Knot looks at the OPT record and the class first"},
		{Name: "badvers-do", Peer: "nsd", undo: badversDO,
			Why: "RFC 3225 section 3: DO is copied into every answer"},
		{Name: "badvers-options", Peer: "knot", undo: badversOptions,
			Why: "RFC 6891 section 6.1.3: a version that is not known is BADVERS, and its options mean nothing"},
		{Name: "bits", Peer: "nsd", undo: copiedBits,
			Why: "RFC 1035 section 4.1.1, RFC 4035 section 3.1.6: AA, TC, RA, Z and CD are not the client's to say; errors copy them"},
		{Name: "rd", Peer: "nsd", undo: clearedRD,
			Why: "RFC 1035 section 4.1.1: RD is copied into the response"},
		{Name: "class-question", Peer: "nsd", undo: classQuestion,
			Why: "RFC 5452 section 9.1: resolvers compare the question, so that it is in every answer to a readable query"},
		{Name: "error-question", Peer: "knot", undo: errorQuestion,
			Why: "RFC 1035 section 4.1.1: what follows the header of a message that can't be interpreted, or of another operation, need not be a question"},
		{Name: "error-opt", undo: errorOPT,
			Why: "RFC 6891 section 7: an OPT record answers an OPT record"},
		{Name: "class-any-aa", undo: classAnyAA,
			Why: "RFC 1035 section 6.2: an answer to QCLASS * is never authoritative"},
		{Name: "class-any-soa", Peer: "nsd", undo: classAnySOA, witness: inAuthority,
			Why: "RFC 2308 section 3: a negative answer carries the SOA"},
		{Name: "transfer", undo: transfer,
			Why: "RFC 5936 section 2.2.1: NOTAUTH for a zone that is not here and REFUSED for one that is; section 4.2 leaves AXFR over UDP undefined"},
		{Name: "small-edns", Peer: "knot", undo: smallEDNS, witness: inAll,
			Why: "RFC 6891 section 6.2.3: a size below 512 is taken as 512"},
		{Name: "meta-types", Peer: "knot", undo: metaTypes, witness: inAll,
			Why: "RFC 3597 section 5: what is no known type is answered as any other type that is not there"},
		{Name: "any", Peer: "nsd", undo: anyChoice, records: true, witness: inAnswer,
			Why: "RFC 8482 section 4.1: one set answers QTYPE ANY; which one is the server's choice"},
		{Name: "rrsig", Peer: "knot", undo: someRRSIG, records: true, witness: inAnswer,
			Why: "RFC 8482 section 7: QTYPE RRSIG is like ANY; ours has all of them"},
		{Name: "additional", Peer: "knot", undo: additionalRecords, records: true, witness: inAdditional,
			Why: "RFC 9471 section 2: the additional section needs glue only; addresses of other targets are left out"},
		{Name: "wildcard-itself", Peer: "nsd", undo: wildcardItself, records: true, witness: inAuthority,
			Why: "RFC 5155 section 7.2.3: a name that is there, be it a wildcard, has an NSEC3 record of its own that says all"},
		{Name: "below-hash", Peer: "nsd", undo: belowHash, records: true, witness: inAll,
			Why: "RFC 5155 section 7.2.8: the owners of NSEC3 records are not names of the zone"},
		{Name: "alias-loop", Peer: "nsd", undo: aliasLoop, records: true,
			Why: "RFC 1034 section 4.3.2 step 3a: how many steps along a DNAME that leads to itself are given is the server's choice"},
		{Name: "alias-meta", undo: aliasMeta, records: true, witness: inAll,
			Why: "RFC 1034 section 4.3.2 step 3a: an alias is followed unless there are records of the type asked for; they do not for RRSIG, NSEC or NSEC3"},
		{Name: "alias-proof", Peer: "nsd", undo: aliasProof, records: true, witness: inAuthority,
			Why: "RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.5: the proof is about the name that the alias leads to"},
		{Name: "alias-end", Peer: "knot", undo: aliasEnd, records: true, witness: inAll,
			Why: "RFC 1034 section 4.3.2 step 3a: aliases are followed through all zones served; Knot takes few steps and stays in the zone"},
		{Name: "wildcard-ns", Peer: "knot", undo: wildcardNS, records: true, witness: inAll,
			Why: "RFC 4592 section 4.2: an NS record at a wildcard is no delegation of the names it stands for"},
		{Name: "too-long", Peer: "knot", undo: tooLong, records: true, witness: inAll,
			Why: "RFC 6672 section 2.2: a name that a DNAME makes too long is YXDOMAIN"},
		{Name: "octet-0", Peer: "knot", undo: octet0, records: true, witness: inAll,
			Why: "RFC 1035 section 3.1, RFC 4034 section 6.1: labels may hold the octet 0, and are ordered by it"},
		{Name: "provable", Peer: "nsd", undo: provable, records: true, witness: inAuthority,
			Why: "RFC 5155 sections 7.2.1, 7.2.2 and 7.2.4: what is denied hangs on the closest provable encloser, which with opt-out lies above empty names"},
		{Name: "wildcard-proof", Peer: "knot", undo: wildcardProof, records: true, witness: inAuthority,
			Why: "RFC 4035 section 3.1.3.4, RFC 5155 section 7.2.6: a proof that a wildcard stands for the name, or that it is empty, is part of the answer"},
	}
}

// explain takes all accepted differences out of c and returns their names.
func (c *Case) explain(list []Difference) (names []string) {
	for _, d := range list {
		if (d.Peer == "" || d.Peer == c.Peer) && !c.Ours.equal(c.Theirs) && !(d.records && c.truncated()) && d.undo(c) {
			names = append(names, d.Name)
		}
	}
	return names
}

// truncated says that an answer is not whole.
func (c *Case) truncated() bool { return (c.Ours.Flags|c.Theirs.Flags)&flagTC != 0 }

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
	op := c.Query.Flags >> 11 & 15
	if op == 0 || c.Ours.Rcode != notImp || !c.errors() {
		return false
	}
	const notify, update = 4, 5
	ok := false
	switch theirs := c.Theirs.Rcode; {
	case c.Peer == "nsd": // has NOTIFY, for its zones, from those whom it believes
		ok = op == notify && (theirs == nxDomain || theirs == refused || !c.Query.Whole && theirs == formErr)
	case theirs == badVers:
		ok = c.Query.OPT > 0 && c.Msg[c.Query.OPT+6] != 0
		if ok && slices.Equal(c.Theirs.Options, []uint16{3}) { // as with badvers-options
			c.Theirs.Options = nil
		}
	case theirs == formErr: // no update without what RFC 2136 section 2 wants, no odd records
		ok = op == update || c.smallOPT() || c.Query.Odd || c.Query.After != len(c.Msg)
	case theirs == refused:
		ok = c.Query.Whole && c.Query.Class != classIN
	case theirs == notAuth:
		ok = (op == notify || op == update) && c.Query.Whole
	}
	if ok {
		c.Theirs.Rcode = notImp
	}
	return ok
}

// smallOPT says that the query announces less than 512 octets.
func (c *Case) smallOPT() bool { return c.Query.OPT > 0 && be16(c.Msg[c.Query.OPT+3:]) < 512 }

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
	t, in := c.Query.Type, c.Query.Class == classIN
	if t != typeAXFR && t != typeIXFR || !c.errors() || c.Ours.Rcode != refused && c.Ours.Rcode != notAuth {
		return false
	}
	ours, theirs := c.Ours.Rcode, c.Theirs.Rcode
	switch {
	case t == typeAXFR && !c.TCP && (in || ours == notAuth) && theirs == notImp:
	case !in && ours == notAuth && theirs == refused:
		if c.Theirs.Question == "" && c.Peer == "nsd" {
			c.Theirs.Question = c.Ours.Question
		}
	case c.Peer != "knot":
		return false
	case in && ours == refused && theirs == notAuth: // who may not have it is told that it is not there
	case t == typeIXFR && in && ours == notAuth && theirs == formErr: // without the SOA that the client has
		return c.same()
	case !in && ours == notAuth && theirs == notImp:
	default:
		return false
	}
	c.Theirs.Rcode = ours
	return true
}

func smallEDNS(c *Case) bool {
	return c.smallOPT() && c.Theirs.Rcode == formErr && c.Ours.Rcode != formErr && c.same()
}

// metaTypes are those that Knot does not look for: 0, and those of queries.
func metaTypes(c *Case) bool {
	t := c.Query.Type
	if c.Theirs.Rcode != notImp || t != 0 && t != typeOPT && (t < 128 || t > 255) || c.Ours.Rcode != noError && c.Ours.Rcode != nxDomain && c.Ours.Rcode != yxDomain && c.Ours.Rcode != refused {
		return false
	}
	return c.same()
}
