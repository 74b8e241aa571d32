// Package zonefile reads zones in the master-file format (RFC 1035 section 5,
// RFC 2308 section 4 for $TTL; $GENERATE as BIND has it), checks them as a name
// server would before it serves them, and compiles them.
package zonefile

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"ampoule/libos/config/zone"
	"ampoule/libos/config/zone/answers"
	"ampoule/tools/configc/report"

	"github.com/miekg/dns"
)

// entry is one record and where it stands.
type entry struct {
	place
	rr dns.RR
	zone.Record
	longest int      // octets of the longest text in quotes
	fields  []string // the text between blanks, of a HINFO record
}

// Read reads the zone of an origin, which is a fully qualified name, from a
// file, and signs it if signing is not nil. What is wrong goes to list; the zone is
// usable when no error did. A syntax error ends the reading of its zone, since
// what follows it could mean anything.
func Read(file, origin string, signing *Signing, list *report.List) zone.Zone {
	return read(os.ReadFile, file, origin, signing, list)
}

// read is Read with the files from readFile.
func read(readFile func(string) ([]byte, error), file, origin string, signing *Signing, list *report.List) zone.Zone {
	entries, ok := parse(&source{readFile: readFile, list: list}, file, origin, list)
	if !ok {
		return ""
	}
	var bad report.List
	c := newChecker(origin, entries, list, &bad)
	c.check(file)
	if bad.Failed() {
		return ""
	}
	records := make([]zone.Record, len(entries))
	for i, e := range entries {
		records[i] = e.Record
	}
	if signing != nil {
		more, ok := signing.sign(c, file, readFile)
		if !ok {
			return ""
		}
		records = append(records, more...)
	}
	z, err := zone.Compile(wireName(dns.CanonicalName(origin)), records)
	if err == nil {
		z, err = answers.Add(z)
	}
	if err != nil {
		list.Errorf(file, 0, "%s: %v", origin, err)
		return z
	}
	warnExpiry(z, file, origin, signing, list)
	return z
}

// parse reads all records and puts them into wire format.
func parse(s *source, file, origin string, list *report.List) ([]entry, bool) {
	main, err := s.open(file)
	if err != nil {
		var perr *os.PathError
		if errors.As(err, &perr) {
			err = perr.Err
		}
		list.Errorf(file, 0, "can't be read: %v", err)
		return nil, false
	}
	s.current = main
	zp := dns.NewZoneParser(main, origin, file)
	zp.SetIncludeAllowed(true)
	zp.SetIncludeFS(s)
	var entries []entry
	ok := true
	for rr, more := zp.Next(); more; rr, more = zp.Next() {
		e := entry{place: s.record(), rr: rr, longest: s.current.longest}
		if rr.Header().Rrtype == dns.TypeHINFO {
			e.fields = s.current.fields()
		}
		if e.Record, err = pack(rr); err != nil {
			list.Errorf(e.file, e.line, "%s: record can't be put into wire format: %v", head(rr), err)
			ok = false
			continue
		}
		entries = append(entries, e)
	}
	for _, w := range s.wrong {
		list.Errorf(w.file, w.line, "%s", w.text)
		ok = false
	}
	if s.secret {
		return nil, false
	}
	if err := zp.Err(); err != nil {
		p, text := explain(err, s.current)
		list.Errorf(p.file, p.line, "%s", text)
		return nil, false
	}
	return entries, ok
}

// syntaxError is how miekg/dns words errors; the position is in the text only.
var syntaxError = regexp.MustCompile(`(?s)^(?:(.*?): )?dns: (.*?)(?:: ("(?:[^"\\]|\\.)*"))? at line: (\d+):(\d+)$`)

// badField is how miekg/dns words an error in one field of a record.
var badField = regexp.MustCompile(`^bad ([A-Z0-9]+) (\S.*)$`)

// explain splits a parser's error into its place and its reason. at is what was
// being read.
func explain(err error, at *lines) (place, string) {
	p := place{at.file, at.entry}
	m := syntaxError.FindStringSubmatch(err.Error())
	if m == nil {
		return p, strings.TrimPrefix(err.Error(), "dns: ")
	}
	if m[1] != "" && m[1] != strings.TrimPrefix(at.file, "/") { // the parser takes the slash off
		p.file = m[1]
	}
	if line, err := strconv.Atoi(m[4]); err == nil && line > 0 {
		p.line = line
	}
	text := reword(m[2])
	if m[3] != "" && m[3] != `""` && m[3] != `"\n"` && !strings.HasPrefix(text, "failed to open") {
		text += ", found " + m[3]
	}
	if at.depth > 0 && at.entry < p.line {
		text += fmt.Sprintf("; a parenthesis has been open since line %d", at.entry)
	}
	return p, text
}

// reword says in this project's words what miekg/dns says in its own.
func reword(text string) string {
	switch {
	case text == "":
		return "malformed record"
	case strings.HasPrefix(text, "expecting RR type or class"):
		return "not a TTL, a class or a record type"
	case strings.HasPrefix(text, "missing TTL"):
		return "no TTL: give the record one, or begin the zone with $TTL"
	}
	m := badField.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	if _, ok := dns.StringToType[m[1]]; !ok {
		return text
	}
	field := m[2]
	if field == "A" || field == "AAAA" {
		field = "address"
	}
	return fmt.Sprintf("bad %s in %s record", field, m[1])
}

// pack puts a record into wire format.
func pack(rr dns.RR) (zone.Record, error) {
	owner := wireName(rr.Header().Name)
	if owner == nil {
		return zone.Record{}, errors.New("the owner is no domain name")
	}
	b := make([]byte, dns.Len(rr)+zone.MaxName)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		return zone.Record{}, errors.New(strings.TrimPrefix(err.Error(), "dns: "))
	}
	return zone.Record{
		Owner: owner,
		Type:  rr.Header().Rrtype,
		TTL:   rr.Header().Ttl,
		Data:  b[len(owner)+10 : n],
	}, nil
}

// wireName returns a name in wire format, or nil.
func wireName(name string) []byte {
	b := make([]byte, zone.MaxName)
	n, err := dns.PackDomainName(name, b, 0, nil, false)
	if err != nil {
		return nil
	}
	return b[:n]
}

// head is a record as messages name it.
func head(rr dns.RR) string {
	return rr.Header().Name + " " + dns.Type(rr.Header().Rrtype).String()
}
