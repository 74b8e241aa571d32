package zonefile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/tools/configc/report"
)

// basic is a zone without fault.
const basic = "$TTL 3600\n@ SOA ns1 host 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n"

func manyTexts() string {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "a TXT \"%s\"\n", strings.Repeat(fmt.Sprintf("%03d", i), 80))
	}
	return b.String()
}

// judged are zones of example.org with about one fault each.
var judged = map[string]string{
	"ok":               basic,
	"no-soa":           "$TTL 3600\n@ NS ns1\nns1 A 192.0.2.1\n",
	"two-soa":          basic + "@ SOA ns2 host 1 7200 3600 1209600 300\n",
	"soa-below":        basic + "x SOA ns1 host 1 7200 3600 1209600 300\n",
	"no-ns":            "$TTL 3600\n@ SOA ns1 host 1 7200 3600 1209600 300\n",
	"ns-no-addr":       "$TTL 3600\n@ SOA ns1 host 1 7200 3600 1209600 300\n@ NS ns1\n",
	"deleg-no-glue":    basic + "sub NS ns.sub\n",
	"cname-other":      basic + "a CNAME ns1\na A 192.0.2.2\n",
	"cname-apex":       basic + "@ CNAME www.example.net.\n",
	"two-cname":        basic + "a CNAME ns1\na CNAME ns2\n",
	"two-cname-same":   basic + "a CNAME ns1\na CNAME ns1\n",
	"two-dname":        basic + "a DNAME b\na DNAME c\n",
	"below-dname":      basic + "a DNAME b\nx.a A 192.0.2.2\n",
	"dname-cname":      basic + "a DNAME b\na CNAME c\n",
	"dname-apex":       basic + "@ DNAME example.net.\n",
	"outside":          basic + "www.example.net. A 192.0.2.2\n",
	"class-ch":         basic + "a CH TXT \"x\"\n",
	"unknown-type":     basic + "a FOO bar\n",
	"bad-a":            basic + "a A 192.0.2.300\n",
	"bad-aaaa":         basic + "a AAAA 2001:::1\n",
	"a-missing":        basic + "a A\n",
	"a-extra":          basic + "a A 192.0.2.2 192.0.2.3\n",
	"mx-no-pref":       basic + "a MX mail\n",
	"mx-big":           basic + "a MX 65536 mail\n",
	"txt-long":         basic + "a TXT \"" + strings.Repeat("x", 256) + "\"\n",
	"txt-open":         basic + "a TXT \"x\n",
	"paren-open":       basic + "a TXT ( \"x\"\n",
	"paren-close":      basic + "a TXT \"x\" )\n",
	"label-64":         basic + strings.Repeat("x", 64) + " A 192.0.2.2\n",
	"name-256":         basic + strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("x", 63) + " A 192.0.2.2\n",
	"empty-label":      basic + "a..b A 192.0.2.2\n",
	"ttl-neg":          basic + "a -1 A 192.0.2.2\n",
	"ttl-big":          basic + "a 4294967296 A 192.0.2.2\n",
	"ttl-2g":           basic + "a 2147483648 A 192.0.2.2\n",
	"ttl-units":        basic + "a 1w2d3h4m5s A 192.0.2.2\n",
	"ttl-differ":       basic + "a 60 A 192.0.2.2\na 61 A 192.0.2.3\n",
	"dup":              basic + "a A 192.0.2.2\na A 192.0.2.2\n",
	"no-ttl":           "@ SOA ns1 host 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n",
	"soa-fields":       "$TTL 3600\n@ SOA ns1 host 1 7200 3600 1209600\n@ NS ns1\nns1 A 192.0.2.1\n",
	"soa-serial":       "$TTL 3600\n@ SOA ns1 host 4294967296 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n",
	"soa-at":           "$TTL 3600\n@ SOA ns1 host@example.org. 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n",
	"soa-at-escaped":   "$TTL 3600\n@ SOA ns1 host\\@example.org. 1 7200 3600 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n",
	"include-none":     basic + "$INCLUDE nofile\n",
	"directive":        basic + "$FOO bar\n",
	"origin-bad":       basic + "$ORIGIN a..b.\n",
	"origin-rel":       basic + "$ORIGIN sub\na A 192.0.2.2\n",
	"generic":          basic + "a TYPE1 \\# 4 c0000202\n",
	"generic-short":    basic + "a TYPE1 \\# 3 c00002\n",
	"generic-odd":      basic + "a TYPE65280 \\# 3 c0000\n",
	"generic-len":      basic + "a TYPE65280 \\# 2 c00002\n",
	"generic-unknown":  basic + "a TYPE65280 \\# 2 c000\n",
	"type-any":         basic + "a ANY \\# 0\n",
	"type-axfr":        basic + "a TYPE252 \\# 0\n",
	"opt":              basic + "a OPT\n",
	"type-opt":         basic + "a TYPE41 \\# 0\n",
	"srv":              basic + "a SRV 1 2 3\n",
	"srv-ok":           basic + "a SRV 1 2 3 ns1\n",
	"srv-port":         basic + "a SRV 1 2 65536 ns1\n",
	"caa":              basic + "a CAA 0 issue\n",
	"caa-flag":         basic + "a CAA 256 issue \"x\"\n",
	"caa-tag":          basic + "a CAA 0 \"is sue\" \"x\"\n",
	"ds-len":           basic + "sub NS ns1\nsub DS 1 13 2 00\n",
	"ds-hex":           basic + "sub NS ns1\nsub DS 1 13 2 zz\n",
	"ds-no-ns":         basic + "sub DS 60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A\n",
	"ds-apex":          basic + "@ DS 60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A\n",
	"sshfp":            basic + "a SSHFP 1 1 zz\n",
	"sshfp-len":        basic + "a SSHFP 1 1 aabb\n",
	"tlsa":             basic + "a TLSA 3 1 1\n",
	"tlsa-hex":         basic + "a TLSA 3 1 1 zz\n",
	"loc":              basic + "a LOC 91 0 0 N 0 0 0 E 0m\n",
	"loc-ok":           basic + "a LOC 51 0 0 N 0 0 0 E 0m\n",
	"naptr":            basic + "a NAPTR 1 2 u\n",
	"hinfo":            basic + "a HINFO one\n",
	"https":            basic + "a HTTPS 1 . alpn=h2 alpn=h3\n",
	"https-mand":       basic + "a HTTPS 1 . mandatory=alpn\n",
	"https-key":        basic + "a HTTPS 1 . foo=bar\n",
	"https-ok":         basic + "a HTTPS 1 . alpn=h2,h3\n",
	"mx-cname":         basic + "a MX 1 b\nb CNAME ns1\n",
	"ns-cname":         basic + "sub NS b\nb CNAME ns1\n",
	"mx-ip":            basic + "a MX 1 192.0.2.1\n",
	"below-cut":        basic + "sub NS ns1\nx.sub TXT \"x\"\n",
	"wild-ns":          basic + "*.w NS ns1\n",
	"wild-dname":       basic + "*.w DNAME ns1\n",
	"rrsig-alone":      basic + "a RRSIG A 13 3 3600 20300101000000 20200101000000 1 example.org. AAAA\n",
	"nsec-bad":         basic + "a NSEC b FOO\n",
	"dnskey-b64":       basic + "@ DNSKEY 257 3 13 !!!\n",
	"nsec3param-only":  basic + "@ NSEC3PARAM 1 0 0 -\n",
	"first-no-owner":   " 3600 SOA ns1 host 1 7200 3600 1209600 300\n@ 3600 NS ns1\nns1 3600 A 192.0.2.1\n",
	"nul":              basic + "a TXT \"x\\000y\"\n",
	"esc-256":          basic + "a TXT \"x\\256y\"\n",
	"esc-label":        basic + "a\\.b A 192.0.2.2\n",
	"esc-bad":          basic + "a\\ A 192.0.2.2\n",
	"empty":            "",
	"only-comment":     "; nothing\n",
	"crlf":             strings.ReplaceAll(basic, "\n", "\r\n"),
	"tab-owner":        basic + "\tA 192.0.2.7\n",
	"no-newline":       basic + "a A 192.0.2.2",
	"binary":           basic + "a A 192.0.2.2\n\x00\x01\x02\n",
	"wks":              basic + "a WKS 192.0.2.1 6 25\n",
	"many-txt":         basic + manyTexts(),
	"key-beside-cname": basic + "a CNAME ns1\na NSEC b CNAME NSEC\n",
	"generate":         basic + "$GENERATE 1-3 h$ A 192.0.2.$\n",
	"ns-apex-cname":    "$TTL 3600\n@ SOA ns1 host 1 7200 3600 1209600 300\n@ NS ns1\nns1 CNAME a\na A 192.0.2.1\n",
	"glue-cname":       basic + "sub NS ns.sub\nns.sub CNAME ns1\n",
	"soa-mname-cname":  basic + "x A 192.0.2.2\n",
	"zero-ttl":         basic + "a 0 A 192.0.2.2\n",
	"csync":            basic + "@ CSYNC 1 3 A NS\n",
	"cds":              basic + "@ CDS 0 0 0 00\n",
	"uri":              basic + "a URI 1 1 \"\"\n",
	"uri-ok":           basic + "a URI 1 1 \"https://x/\"\n",
	"eui48":            basic + "a EUI48 00-00-5e-00-53-2a\n",
	"eui48-bad":        basic + "a EUI48 00-00-5e-00-53\n",
	"openpgp":          basic + "a OPENPGPKEY !!\n",
	"zonemd":           basic + "@ ZONEMD 1 1 1 aabb\n",
	"apl":              basic + "a APL 1:192.0.2.0/24\n",
	"apl-bad":          basic + "a APL 1:192.0.2.0/33\n",
	"afsdb":            basic + "a AFSDB 1\n",
	"ptr-two":          basic + "a PTR\n",
	"under":            basic + "_x_y A 192.0.2.2\n",
	"svcb-prio":        basic + "a SVCB 70000 .\n",
}

// apart is where we judge otherwise than NSD and Knot, and why.
var apart = map[string]struct{ verdict, why string }{
	"below-cut":      {"warn", "what is hidden below a delegation is likely a mistake"},
	"dup":            {"warn", "a record that is there twice is likely a mistake"},
	"two-cname-same": {"warn", "a record that is there twice is likely a mistake"},
	"mx-cname":       {"warn", "RFC 2181 section 10.3"},
	"no-ns":          {"err", "RFC 1034 section 4.2.1: a zone has name servers"},
	"many-txt":       {"err", "RFC 1035 section 4.2.2: no message holds it"},
	"ttl-2g":         {"err", "RFC 2181 section 8"},
	"type-axfr":      {"err", "RFC 6895 section 3.1: a type of queries"},
	"type-opt":       {"err", "RFC 6891 section 6.1.1: not in a zone"},
	"no-ttl":         {"err", "RFC 2308 section 4: there is no default"},
	"crlf":           {"ok", "line ends of other systems do no harm"},
	"generate":       {"ok", "$GENERATE is known here"},
}

// judges runs nsd-checkzone and kzonecheck. What one of them refuses is "err",
// what one of them warns of is "warn". Knot serves a zone in spite of the faults
// that it does not call serious.
func judges(t *testing.T, file string) (verdict, said string) {
	nsd, nsdErr := exec.Command("nsd-checkzone", "example.org", file).CombinedOutput()
	knot, knotErr := exec.Command("kzonecheck", "-o", "example.org", file).CombinedOutput()
	said = string(nsd) + string(knot)
	switch {
	case nsdErr != nil, strings.Contains(string(knot), "Serious"), strings.Contains(string(knot), "failed to run"):
		return "err", said
	case knotErr != nil, strings.Contains(said, "warning"):
		return "warn", said
	}
	return "ok", said
}

// TestJudges compares our verdict on zones with those of NSD and Knot.
func TestJudges(t *testing.T) {
	for _, name := range []string{"nsd-checkzone", "kzonecheck"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: no %s (Debian: apt-get install nsd knot-dnssecutils): our verdicts on zones are not compared", name)
		}
	}
	dir := t.TempDir()
	for name, text := range judged {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want, said := judges(t, file)
		if a, ok := apart[name]; ok {
			if a.verdict == want {
				t.Errorf("%s: stands in apart, but the others judge the same", name)
			}
			want = a.verdict
		}
		var list report.List
		Read(file, "example.org.", nil, &list)
		got := "ok"
		if len(list.Problems()) > 0 {
			got = "warn"
		}
		if list.Failed() {
			got = "err"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s\nours: %v\ntheirs: %s", name, got, want, list.Problems(), said)
		}
	}
}
