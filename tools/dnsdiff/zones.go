package dnsdiff

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/tools/configc/report"
	"ampoule/tools/configc/zonefile"

	"github.com/miekg/dns"
)

// Zone is one zone that all servers have.
type Zone struct {
	Origin string
	File   string // as NSD and Knot read it: records written out
	Table  string // file with the compiled zone
	Names  []string
	table  zone.Zone
}

// hashedNames returns the owners of the NSEC3 records of zones.
func hashedNames(zones []Zone) map[string]bool {
	names := map[string]bool{}
	for _, z := range zones {
		for i := range z.table.Hashed() {
			names[z.table.Name(z.table.HashedAt(i))] = true
		}
	}
	return names
}

// edge says how testdata/dns/diff/edge.zone is served under an origin; algorithm 0
// is for not signed.
type edge struct {
	origin    string
	algorithm uint8
	nsec3     bool
	salt      string
	rounds    uint16
	optOut    bool
}

var edges = []edge{
	{origin: "edge.example."},
	{origin: "nsec13.test.example.", algorithm: dns.ECDSAP256SHA256},
	{origin: "nsec15.example.", algorithm: dns.ED25519},
	{origin: "hash8.example.", algorithm: dns.RSASHA256, nsec3: true, salt: "ab12", rounds: 5},
	{origin: "hash13.example.", algorithm: dns.ECDSAP256SHA256, nsec3: true},
	{origin: "optout15.example.", algorithm: dns.ED25519, nsec3: true, optOut: true},
}

// MakeZones writes all zones that the servers are compared on into dir, from those
// in testdata below root. Signed ones are signed by the build's own signer, with
// keys that are made here, or were signed by dnssec-signzone.
func MakeZones(root, dir string) ([]Zone, error) {
	var zones []Zone
	files, err := filepath.Glob(filepath.Join(root, "testdata/dns/zones/*.zone"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("dnsdiff: no zones in testdata: %v", err)
	}
	for _, f := range files {
		origin := strings.TrimSuffix(filepath.Base(f), "zone")
		z, err := makeZone(dir, f, origin, nil)
		if err != nil {
			return nil, err
		}
		zones = append(zones, z)
	}
	text, err := os.ReadFile(filepath.Join(root, "testdata/dns/diff/edge.zone"))
	if err != nil {
		return nil, err
	}
	for _, e := range edges {
		z, err := e.make(dir, string(text))
		if err != nil {
			return nil, err
		}
		zones = append(zones, z)
	}
	return zones, nil
}

func (e *edge) make(dir, text string) (Zone, error) {
	file := filepath.Join(dir, e.origin+"source")
	text += longNames(e.origin, e.nsec3)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return Zone{}, err
	}
	if e.algorithm == 0 {
		return makeZone(dir, file, e.origin, nil)
	}
	g := &zonefile.Signing{NSEC3: e.nsec3, Salt: e.salt, Iterations: e.rounds, OptOut: e.optOut,
		Now: time.Now(), Validity: 60 * 24 * time.Hour}
	for _, flags := range []uint16{dns.ZONE | dns.SEP, dns.ZONE} {
		k, err := makeKey(dir, e.origin, e.algorithm, flags)
		if err != nil {
			return Zone{}, err
		}
		g.Keys = append(g.Keys, k)
	}
	return makeZone(dir, file, e.origin, g)
}

// longNames are records at names that are as long, or have as many labels, as a
// name can, and names whose aliases would be longer. With NSEC3 there is room for a
// wildcard below them: NSD 4.6.1 crashes where there is none.
func longNames(origin string, nsec3 bool) string {
	room := 255 - (len(origin) + 1)
	if nsec3 {
		room -= 2
	}
	var b strings.Builder
	pad := func(label byte, n int) string { // n octets in wire format
		var s strings.Builder
		for n > 0 {
			l := min(n, 64)
			if n-l == 1 {
				l--
			}
			s.WriteString(strings.Repeat(string(label), l-1) + ".")
			n -= l
		}
		return s.String()
	}
	fmt.Fprintf(&b, "%s%s A 192.0.2.200\n", pad('l', room), origin)
	fmt.Fprintf(&b, "%s%s A 192.0.2.201\n", pad('m', room-1), origin)
	fmt.Fprintf(&b, "*.%s%s A 192.0.2.202\n", pad('n', room-2), origin)
	fmt.Fprintf(&b, "%s%s A 192.0.2.203\n", strings.Repeat("d.", room/2), origin)
	fmt.Fprintf(&b, "longalias CNAME %s%s\n", pad('l', room), origin)
	fmt.Fprintf(&b, "%s A 192.0.2.204\n", strings.Repeat("x", 63))
	fmt.Fprintf(&b, "mlonger DNAME %s%s\n", pad('m', room-3), origin)
	return b.String()
}

// makeKey writes a key as dnssec-keygen does, and returns its name.
func makeKey(dir, origin string, algorithm uint8, flags uint16) (string, error) {
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: origin, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: flags, Protocol: 3, Algorithm: algorithm}
	bits := map[uint8]int{dns.RSASHA256: 2048, dns.ECDSAP256SHA256: 256, dns.ED25519: 256}[algorithm]
	p, err := k.Generate(bits)
	if err != nil {
		return "", fmt.Errorf("dnsdiff: make a key: %w", err)
	}
	name := filepath.Join(dir, fmt.Sprintf("K%s+%03d+%05d", origin, algorithm, k.KeyTag()))
	for ext, text := range map[string]string{".key": k.String() + "\n", ".private": k.PrivateKeyString(p)} {
		if err := os.WriteFile(name+ext, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return name, nil
}

// makeZone compiles a zone as the build of an image does, and writes it out for
// the others.
func makeZone(dir, file, origin string, g *zonefile.Signing) (Zone, error) {
	var list report.List
	z := Zone{Origin: origin, File: filepath.Join(dir, origin+"zone"), Table: filepath.Join(dir, origin+"table")}
	z.table = zonefile.Read(file, origin, g, &list)
	if list.Failed() {
		return z, fmt.Errorf("dnsdiff: %v", list.Problems())
	}
	if err := os.WriteFile(z.Table, []byte(z.table), 0o600); err != nil {
		return z, err
	}
	text, err := written(z.table)
	if err != nil {
		return z, err
	}
	if g == nil { // what the compiler made of it is to be compared too
		if text, err = parsed(file, origin); err != nil {
			return z, err
		}
	}
	for i := range z.table.Len() { // of the longest chain of empty names, some are enough
		if name := z.table.Name(z.table.At(i)); !strings.HasPrefix(name, "\x01d\x01d") || i%16 == 0 {
			z.Names = append(z.Names, name)
		}
	}
	for i := 0; i < z.table.Hashed(); i += 16 {
		z.Names = append(z.Names, z.table.Name(z.table.HashedAt(i)))
	}
	// Knot does not read CLASS1 for IN.
	text = strings.ReplaceAll(text, "\tCLASS1\t", "\tIN\t")
	return z, os.WriteFile(z.File, []byte(text), 0o600)
}

// parsed is a zone file without directives.
func parsed(file, origin string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	zp := dns.NewZoneParser(f, origin, file)
	zp.SetIncludeAllowed(true)
	var b strings.Builder
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		fmt.Fprintln(&b, rr)
	}
	return b.String(), zp.Err()
}

// written is a compiled zone as a zone file.
func written(z zone.Zone) (string, error) {
	var b strings.Builder
	node := func(n zone.Node) error {
		for it := z.RRsets(n); ; {
			set, ok := it.Next()
			if !ok {
				return nil
			}
			for data, ok := set.Next(); ok; data, ok = set.Next() {
				ttl := set.TTL
				if set.Type == zone.TypeRRSIG {
					ttl = binary.BigEndian.Uint32([]byte(data[4:8])) // the table has one for all at a name
				}
				msg := binary.BigEndian.AppendUint16([]byte(z.Name(n)), set.Type)
				msg = binary.BigEndian.AppendUint32(append(msg, 0, 1), ttl)
				msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
				rr, _, err := dns.UnpackRR(append(msg, data...), 0)
				if err != nil {
					return fmt.Errorf("dnsdiff: %w", err)
				}
				fmt.Fprintln(&b, rr)
			}
		}
	}
	for i := range z.Len() + z.Hashed() {
		n := zone.None
		if i < z.Len() {
			n = z.At(i)
		} else {
			n = z.HashedAt(i - z.Len())
		}
		if err := node(n); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// Rewritten compiles z anew from the file that the other servers read.
func Rewritten(dir string, z Zone) (Zone, error) {
	var list report.List
	z.table = zonefile.Read(z.File, z.Origin, nil, &list)
	if list.Failed() {
		return z, fmt.Errorf("dnsdiff: %v", list.Problems())
	}
	z.Table = filepath.Join(dir, z.Origin+"rewritten")
	return z, os.WriteFile(z.Table, []byte(z.table), 0o600)
}
