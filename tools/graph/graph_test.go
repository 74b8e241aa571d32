package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/libos/mgmt/mgmttest"
	configimage "ampoule/tools/configc/image"
	"ampoule/tools/size/measure"
	"ampoule/tools/workspace"
)

// TestGraph measures images and holds the graph to what is known of them: each
// byte of the image is in it once, and a package is where it comes from.
func TestGraph(t *testing.T) {
	root, err := workspace.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		image  measure.Image
		config string
		want   map[string]string // by package: how the title of its section begins
	}{
		{measure.Image{App: "echo", Target: "xen", Profile: "tiny"}, filepath.Join(root, "configs/echo.toml"), map[string]string{
			"gvisor.dev/gvisor/pkg/tcpip/network/arp":         "network.ipv4 (line 6)",
			"gvisor.dev/gvisor/pkg/tcpip/network/ipv6":        "network.ipv6 (line 8)",
			"gvisor.dev/gvisor/pkg/tcpip/network/internal/ip": "more than one",
			"gvisor.dev/gvisor/pkg/tcpip/transport/tcp":       "base: TCP/IP",
			"ampoule/drivers/xen/netfront":                    "base: drivers",
			"ampoule/libos/netif":                             "base: libos",
			"runtime":                                         "base: Go's runtime",
		}},
		{measure.Image{App: "dns", Target: "virtio", Profile: "default"}, everything(t, root), map[string]string{
			"ampoule/libos/netif/dhcp4":                "network.dhcp (line 3)",
			"ampoule/libos/netif/ip4":                  "network.dhcp (line 3)", // its layer, which the key also brings
			"gvisor.dev/gvisor/pkg/tcpip/network/ipv6": "network.slaac (line 4)",
			"ampoule/libos/telemetry/syslog":           "syslog (line 7)",
			"ampoule/libos/mgmt":                       "management (line 11)",
			"ampoule/libos/telemetry/syslog/secure":    "syslog.authorities (line 9)",
			"crypto/tls":                               "more than one",
			"ampoule/libos/mgmt/persist":               "management.disk (line 13)",
			"ampoule/drivers/virtio/blk":               "management.disk (line 13)",
			"runtime/pprof":                            "management.pprof (line 14)",
			"ampoule/libos/mgmt/capture":               "management.capture (line 15)",
			"ampoule/appliances/dns/tsig/algorithm":    "dns.keys (line 17)",
			"(table of the zone example.org.)":         "dns.zones.file (line 24)",
			"ampoule/appliances/dns/secondary":         "dns.zones.primaries (line 30)",
			"ampoule/appliances/dns/xfr":               "more than one", // zones in both directions need it
			"ampoule/appliances/dns/dnsd":              "base: appliance",
			"ampoule/drivers/virtio/net":               "base: drivers",
		}},
	} {
		work := t.TempDir()
		g, err := measured(root, c.image, c.config, work)
		if err != nil {
			t.Fatal(err)
		}
		g.title = c.image.String() + " <" + c.config + ">"
		st, err := os.Stat(filepath.Join(work, "ships", c.image.App+".elf"))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s", g.text())
		checkSum(t, g, st.Size())
		checkDrawing(t, g)
		checkPlaces(t, g, c.want)
	}
}

// everything is the path of a configuration with all that decides what is linked.
func everything(t *testing.T, root string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "everything")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "tools/graph/testdata/everything"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), mgmttest.Root(t, "test").Cert(), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "image.toml")
}

// checkSum wants the modules to add up to the image, and nothing but what packing
// saves below nothing. A part may leave others less padding and fewer tables.
func checkSum(t *testing.T, g *graph, size int64) {
	t.Helper()
	const padding = -1024
	var sum measure.Bytes
	for _, s := range g.sections {
		n := s.sum()
		sum = sum.Plus(n, 1)
		for _, m := range s.modules {
			if m.name == measure.Packing {
				n = n.Plus(m.bytes, -1)
			}
		}
		if n.Code < padding || n.Data < padding || n.Tables < padding || n.Sum() < 0 {
			t.Errorf("%s: %s has %+v", g.title, s.title, n)
		}
		for _, m := range s.modules {
			if !m.more && m.name != measure.Packing && (m.bytes.Code < 0 || m.bytes.Data < 0 || m.bytes.Tables < 0) {
				t.Errorf("%s: %s has %+v", g.title, m.name, m.bytes)
			}
		}
	}
	if sum.Sum() != size || g.size != size {
		t.Errorf("%s: modules of %d bytes, graph of %d, image of %d", g.title, sum.Sum(), g.size, size)
	}
	if want := fmt.Sprintf("%9d %9d %9d %9d  the image\n", size, sum.Code, sum.Data, sum.Tables); !bytes.HasSuffix(g.text(), []byte(want)) {
		t.Errorf("%s: the text does not end with %q", g.title, want)
	}
}

// checkDrawing wants well-formed XML that names every section and module of the
// text, and has no script.
func checkDrawing(t *testing.T, g *graph) {
	t.Helper()
	words := texts(t, g.svg())
	for _, s := range g.sections {
		if !slices.Contains(words, s.heading()) {
			t.Errorf("%s: no section %q in the drawing", g.title, s.heading())
		}
		for _, m := range s.modules {
			if !slices.Contains(words, m.label()) {
				t.Errorf("%s: no module %q in the drawing", g.title, m.label())
			}
			if !strings.Contains(string(g.text()), "    "+m.label()+"\n") {
				t.Errorf("%s: no module %q in the text", g.title, m.label())
			}
		}
	}
}

// texts parses a drawing and returns all that is written in it.
func texts(t *testing.T, svg []byte) (words []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return words
		}
		if err != nil {
			t.Fatalf("the drawing is not XML: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			if !slices.Contains([]string{"svg", "rect", "path", "text", "title"}, x.Name.Local) || x.Name.Space != "http://www.w3.org/2000/svg" {
				t.Fatalf("an element %v", x.Name)
			}
		case xml.CharData:
			words = append(words, string(x))
		}
	}
}

// checkPlaces wants packages in the sections that brought them, and nowhere else
// as a whole.
func checkPlaces(t *testing.T, g *graph, want map[string]string) {
	t.Helper()
	for name, title := range want {
		found := ""
		for _, s := range g.sections {
			for _, m := range s.modules {
				if m.name == name && !m.more {
					found += s.title
				}
			}
		}
		if !strings.HasPrefix(found, title) {
			t.Errorf("%s: %s is in %q, want %q", g.title, name, found, title)
		}
	}
}

// TestCompose has parts of which one is within another, packages that need two of
// them, and packages that any of two would bring.
func TestCompose(t *testing.T) {
	account := func(names ...string) measure.Account {
		a := measure.Account{"runtime": {Code: 11000, Tables: 100}}
		for _, n := range names {
			a[n] = measure.Bytes{Code: 5000, Tables: 500}
		}
		return a
	}
	m := measurement{size: 40000, plain: 40000, title: func(p configimage.Part) string { return p.Name },
		parts:   []configimage.Part{{Name: "a"}, {Name: "inner", Within: "a"}, {Name: "b"}},
		full:    account("a/a", "a/inner", "b/b", "both/x", "any/x"),
		base:    account(),
		without: map[string]measure.Account{"a": account("b/b", "any/x"), "inner": account("a/a", "b/b", "both/x", "any/x"), "b": account("a/a", "a/inner", "any/x")},
	}
	m.full["runtime"] = measure.Bytes{Code: 12000, Tables: 150}
	m.without["inner"]["runtime"] = measure.Bytes{Code: 11900, Tables: 150}
	m.without["a"]["runtime"] = measure.Bytes{Code: 11400, Tables: 110}
	m.without["b"]["runtime"] = measure.Bytes{Code: 12000, Tables: 150}
	g := m.compose()
	checkSum(t, g, 40000)
	checkPlaces(t, g, map[string]string{"a/a": "a", "a/inner": "inner", "b/b": "b", "both/x": "more than one", "any/x": "more than one", "runtime": "base: Go's runtime"})
	for title, want := range map[string]measure.Bytes{
		"a": {Code: 5500, Tables: 540}, "inner": {Code: 5100, Tables: 500}, "b": {Code: 5000, Tables: 500},
		"more than one of these": {Code: 10400, Tables: 1010}, "base: Go's runtime": {Code: 11000, Tables: 100},
	} {
		i := slices.IndexFunc(g.sections, func(s section) bool { return s.title == title })
		if i < 0 || g.sections[i].sum() != want {
			t.Errorf("%s: %+v, want %+v", title, g.sections, want)
		}
	}
}

// TestComposeNextToNothing has a part without which others are larger by more than it
// brings, as layouts differ.
func TestComposeNextToNothing(t *testing.T) {
	rest := measure.Account{"runtime": {Code: 11000, Tables: 900}, "sort": {Data: 90}}
	m := measurement{size: 13000, plain: 13000, title: func(p configimage.Part) string { return p.Name },
		parts:   []configimage.Part{{Name: "tiny"}},
		full:    measure.Account{"runtime": {Code: 11010, Tables: 660}, "sort": {Data: 20}, "tiny/x": {Code: 86, Data: 32, Tables: 117}},
		base:    rest,
		without: map[string]measure.Account{"tiny": rest},
	}
	g := m.compose()
	checkSum(t, g, 13000)
	checkPlaces(t, g, map[string]string{"tiny/x": "tiny", "runtime": "base: Go's runtime"})
	if got, want := g.sections[0].sum(), (measure.Bytes{Code: 96, Data: 32, Tables: 117}); got != want {
		t.Errorf("tiny has %+v, want %+v", got, want)
	}
}

// What is drawn may have any characters.
func TestDrawEscaped(t *testing.T) {
	g := &graph{title: `a <script>&"'`, size: 1, sections: []section{{title: "<b>", about: "&amp;",
		modules: []module{{name: "x]]>\x01<y"}, {name: "z", more: true}, {name: "third"}}}}}
	words := texts(t, g.svg())
	for _, w := range []string{`a <script>&"': 1 bytes`, "<b>", "0 bytes: &amp;", "x]]>\uFFFD<y", "+ z"} {
		if !slices.Contains(words, w) {
			t.Errorf("no %q in %q", w, words)
		}
	}
}
