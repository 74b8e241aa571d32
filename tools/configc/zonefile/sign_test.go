package zonefile

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/libos/config/zone"
	"ampoule/tools/configc/report"

	"github.com/miekg/dns"
)

// unsigned has one of each thing that signing treats in its own way.
const unsigned = `
$TTL 3600
@	SOA	ns1 hostmaster 1 7200 3600 1209600 300
	NS	ns1
	NS	ns2.example.net.
	A	192.0.2.1
ns1	A	192.0.2.53
WWW	600 A	192.0.2.80
	300 A	192.0.2.81
www	300 A	192.0.2.81
alias	CNAME	www
*.wild	A	192.0.2.100
a.b.ent	A	192.0.2.70
moved	DNAME	wild
sub	NS	ns.sub
	TXT	"never seen"
ns.sub	A	192.0.2.54
deep.below.sub	A	192.0.2.55
secure	NS	ns.secure
secure	DS	60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A
ns.secure	A	192.0.2.56
only.below.far	NS	ns1
mx	MX	10 Mail.Example.NET.
srv	SRV	1 2 3 Sip.Example.NET.
`

// makeKey writes a key into dir as dnssec-keygen does, and returns its name.
func makeKey(t testing.TB, dir, origin string, algorithm uint8, flags uint16) string {
	t.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: origin, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: flags, Protocol: 3, Algorithm: algorithm}
	bits := map[uint8]int{dns.RSASHA256: 2048, dns.ECDSAP256SHA256: 256, dns.ECDSAP384SHA384: 384, dns.ED25519: 256}[algorithm]
	p, err := k.Generate(bits)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, fmt.Sprintf("K%s+%03d+%05d", origin, algorithm, k.KeyTag()))
	for ext, text := range map[string]string{".key": "; a comment\n" + k.String() + "\n", ".private": k.PrivateKeyString(p)} {
		if err := os.WriteFile(name+ext, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// text writes a compiled zone as a zone file.
func text(t testing.TB, z zone.Zone) string {
	t.Helper()
	var b strings.Builder
	node := func(n zone.Node) {
		for it := z.RRsets(n); ; {
			set, ok := it.Next()
			if !ok {
				return
			}
			for data, ok := set.Next(); ok; data, ok = set.Next() {
				msg := []byte(z.Name(n))
				msg = binary.BigEndian.AppendUint16(msg, set.Type)
				msg = append(msg, 0, 1)
				ttl := set.TTL
				if set.Type == zone.TypeRRSIG {
					ttl = binary.BigEndian.Uint32([]byte(data[4:8])) // a Zone has one for all that are at a name
				}
				msg = binary.BigEndian.AppendUint32(msg, ttl)
				msg = binary.BigEndian.AppendUint16(msg, uint16(len(data)))
				rr, _, err := dns.UnpackRR(append(msg, data...), 0)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintln(&b, rr)
			}
		}
	}
	for i := range z.Len() {
		node(z.At(i))
	}
	for i := range z.Hashed() {
		node(z.HashedAt(i))
	}
	return b.String()
}

func signed(t testing.TB, g *Signing, zoneText string) (zone.Zone, string) {
	t.Helper()
	if g != nil && g.Now.IsZero() {
		g.Now = time.Now()
	}
	if g != nil && g.Validity == 0 {
		g.Validity = 60 * 24 * time.Hour
	}
	var list report.List
	z := read(func(name string) ([]byte, error) {
		if name == "main" {
			return []byte(zoneText), nil
		}
		return os.ReadFile(name)
	}, "main", "example.org.", g, &list)
	var all strings.Builder
	for _, p := range list.Problems() {
		fmt.Fprintln(&all, p)
	}
	return z, all.String()
}

// TestSign signs by each algorithm and way of denial and has ldns judge the zone.
func TestSign(t *testing.T) {
	if _, err := exec.LookPath("ldns-verify-zone"); err != nil {
		t.Skip("SKIPPED: no ldns-verify-zone (Debian: apt-get install ldnsutils): signed zones are not verified")
	}
	dir := t.TempDir()
	var keys [16][2]string
	for _, a := range []uint8{dns.RSASHA256, dns.ECDSAP256SHA256, dns.ED25519} {
		keys[a] = [2]string{makeKey(t, dir, "example.org.", a, 257), makeKey(t, dir, "example.org.", a, 256)}
	}
	ec := keys[dns.ECDSAP256SHA256]
	for what, g := range map[string]Signing{
		"RSASHA256":       {Keys: keys[dns.RSASHA256][:]},
		"ECDSAP256SHA256": {Keys: ec[:]},
		"ED25519":         {Keys: keys[dns.ED25519][:], NSEC3: true},
		"one key":         {Keys: ec[:1]},
		"one zone key":    {Keys: ec[1:]},
		"two algorithms":  {Keys: append(keys[dns.ED25519][:], ec[:]...)},
		"NSEC3":           {Keys: ec[:], NSEC3: true},
		"salt":            {Keys: ec[:], NSEC3: true, Iterations: 5, Salt: "aabbcc"},
		"opt-out":         {Keys: ec[:], NSEC3: true, OptOut: true},
	} {
		t.Run(what, func(t *testing.T) {
			z, problems := signed(t, &g, unsigned)
			if z == "" || !z.Signed() {
				t.Fatalf("not signed: %s", problems)
			}
			if left := time.Until(time.Unix(int64(z.Expiry()), 0)); left < 59*24*time.Hour || left > 61*24*time.Hour {
				t.Errorf("the first signature expires in %v", left)
			}
			file := filepath.Join(t.TempDir(), "zone")
			if err := os.WriteFile(file, []byte(text(t, z)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("ldns-verify-zone", file).CombinedOutput(); err != nil {
				t.Errorf("%v: %s\n%s", err, out, text(t, z))
			}
		})
	}
}

// TestSignRefuses checks the reasons for which a zone is not signed.
func TestSignRefuses(t *testing.T) {
	dir := t.TempDir()
	good := makeKey(t, dir, "example.org.", dns.ECDSAP256SHA256, 257)
	other := makeKey(t, dir, "example.org.", dns.ECDSAP256SHA256, 256)
	foreign := makeKey(t, dir, "example.net.", dns.ECDSAP256SHA256, 257)
	unknown := makeKey(t, dir, "example.org.", dns.ECDSAP384SHA384, 257)
	revoked := makeKey(t, dir, "example.org.", dns.ECDSAP256SHA256, 257|128)
	copyFile := func(to, from string) string {
		b, err := os.ReadFile(filepath.Join(dir, from))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, strings.TrimSuffix(strings.TrimSuffix(to, ".key"), ".private"))
	}
	copyFile("mixed.private", filepath.Base(other)+".private")
	mixed := copyFile("mixed.key", filepath.Base(good)+".key")
	public := copyFile("public.key", filepath.Base(good)+".key")
	for want, c := range map[string]struct {
		key, zone string
	}{
		"can't be read: no such file":                                {filepath.Join(dir, "none"), unsigned},
		".private can't be read":                                     {public, unsigned},
		"a key of example.net., must be of":                          {foreign, unsigned},
		"algorithm 14 (ECDSAP384SHA384)":                             {unknown, unsigned},
		"is revoked":                                                 {revoked, unsigned},
		"does not belong to the .key":                                {mixed, unsigned},
		"main:28: www.example.org. NSEC: the zone is signed already": {good, unsigned + "\n\n\nwww NSEC example.org. A\n"},
	} {
		z, problems := signed(t, &Signing{Keys: []string{c.key}}, c.zone)
		if z != "" || !strings.Contains(problems, want) {
			t.Errorf("%s: got %q", want, problems)
		}
	}
}

// TestExpiryWarning checks that a build tells of signatures that end soon.
func TestExpiryWarning(t *testing.T) {
	key := makeKey(t, t.TempDir(), "example.org.", dns.ED25519, 257)
	for validity, want := range map[time.Duration]string{
		60 * 24 * time.Hour: "",
		13 * 24 * time.Hour: "the first signature expires at",
	} {
		_, problems := signed(t, &Signing{Keys: []string{key}, Validity: validity}, unsigned)
		if told := strings.Contains(problems, "signature"); told != (want != "") || !strings.Contains(problems, want) {
			t.Errorf("%v: %q", validity, problems)
		}
	}
	z, _ := signed(t, &Signing{Keys: []string{key}, Now: time.Now().Add(-100 * 24 * time.Hour)}, unsigned)
	if _, problems := signed(t, nil, text(t, z)); !strings.Contains(problems, "a signature has expired at") {
		t.Errorf("expired: %q", problems)
	}
}
