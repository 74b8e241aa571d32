package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"ampoule/tools/load"
	"ampoule/tools/netpeer"
)

// query is one kind of query to the DNS appliance and how it is configured for it.
type query struct {
	name   string
	config string // lines behind port in [dns]
	limit  bool   // response-rate limiting is on, at its highest rate
	names  int    // of a zone of so many names, n0.example.test and so on; 0: the default zones
	ask    load.DNSQuery
	v6     bool
}

// queries are measured against the first of them.
var queries = []query{
	{name: "A over IPv4"},
	{name: "A over IPv6", v6: true},
	{name: "letters of mixed case", ask: load.DNSQuery{Name: "wWw.eXaMple.OrG"}},
	{name: "a name that is not there", ask: load.DNSQuery{Name: "nobody.example.org", Negative: true}},
	{name: "EDNS", ask: load.DNSQuery{EDNS: true}},
	{name: "limits and cookies on, A", config: "cookies = true\n", limit: true},
	{name: "limits and cookies on, a client's cookie", config: "cookies = true\n", limit: true, ask: load.DNSQuery{EDNS: true, Cookie: load.ClientCookie}},
	{name: "limits and cookies on, a server's cookie", config: "cookies = true\n", limit: true, ask: load.DNSQuery{EDNS: true, Cookie: load.ServerCookie}},
	{name: "through the full server (padding)", ask: load.DNSQuery{EDNS: true, Padding: true}},
	{name: "zone of 1,000 names, all in turn", names: 1000},
	{name: "zone of 100,000 names, all in turn", names: 100_000},
}

// step is by how much names asked in turn are apart: no common factor with their
// number.
const step = 7919

// service makes q's requests.
func (q *query) service() load.Service {
	if q.names > 0 {
		q.ask.Names = func(n uint32) string { return fmt.Sprintf("n%d.example.test", uint64(n)*step%uint64(q.names)) }
	} else if q.ask.Name == "" {
		q.ask.Name = "www.example.org"
	}
	return q.ask.Service()
}

// configure writes q's configuration into dir.
func (q *query) configure(dir string) (string, error) {
	configs, err := filepath.Abs("configs")
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(configs, "dns.toml"))
	if err != nil {
		return "", err
	}
	c := strings.ReplaceAll(string(b), `file = "`, `file = "`+configs+"/")
	c = strings.Replace(c, "[dns]\n", "[dns]\n"+q.config, 1)
	if q.limit {
		c += "\n[dns.rrl]\nrate = 16384\n"
	}
	if q.names > 0 {
		var z strings.Builder
		z.WriteString("$TTL 1h\n@ IN SOA ns hostmaster 1 2h 1h 2w 5m\n@ IN NS ns\nns IN A 192.0.2.1\n")
		for i := range q.names {
			fmt.Fprintf(&z, "n%d IN A 192.0.%d.%d\n", i, i>>8&255, i&255)
		}
		if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(z.String()), 0o644); err != nil {
			return "", err
		}
		c += "\n[[dns.zones]]\norigin = \"example.test\"\nfile = \"" + dir + "/zone\"\n"
	}
	name := filepath.Join(dir, "dns.toml")
	return name, os.WriteFile(name, []byte(c), 0o644)
}

// kinds measures queries, each with an image of its own configuration: the first one,
// and those with which in their name, or all.
func (b *bench) kinds(ctx context.Context, w io.Writer, which, mkimage string) error {
	fmt.Fprintf(w, "%-44s %12s %12s %13s\n", "instructions for a query", "saturated", "lone", "to the first")
	var first float64
	for i := range queries {
		q := &queries[i]
		if i > 0 && which != "all" && !strings.Contains(q.name, which) {
			continue
		}
		sat, lone, err := b.kind(ctx, q, mkimage)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		if i == 0 {
			first = sat.Plain
		}
		fmt.Fprintf(w, "%-44s %12s %12s %+12.0f%%\n", q.name, group(sat.Plain), group(lone.Plain), 100*(sat.Plain/first-1))
	}
	return nil
}

// queries measures kinds of queries, or profiles a point of one.
func (b *bench) queries(ctx context.Context, which, mkimage, prof string, v view) error {
	if prof != "" {
		return b.profileKind(ctx, which, mkimage, prof, v)
	}
	return b.kinds(ctx, os.Stdout, which, mkimage)
}

// kind measures one.
func (b *bench) kind(ctx context.Context, q *query, mkimage string) (sat, alone Point, err error) {
	one, done, err := b.built(ctx, q, mkimage)
	if err != nil {
		return sat, alone, err
	}
	defer done()
	if sat, err = one.requestCost(ctx, "dns", saturated); err != nil {
		return sat, alone, err
	}
	alone, err = one.requestCost(ctx, "dns", lone)
	return sat, alone, err
}

// profileKind profiles a point of the first one with which in its name.
func (b *bench) profileKind(ctx context.Context, which, mkimage, what string, v view) error {
	at := slices.IndexFunc(queries, func(q query) bool { return strings.Contains(q.name, which) })
	if at < 0 {
		return fmt.Errorf("no kind of query has %q in its name", which)
	}
	one, done, err := b.built(ctx, &queries[at], mkimage, "-strip=false")
	if err != nil {
		return err
	}
	defer done()
	return one.profile(ctx, "dns", what, "", v)
}

// built is b with an image for one kind, which done removes.
func (b *bench) built(ctx context.Context, q *query, mkimage string, flags ...string) (one *bench, done func(), err error) {
	dir, err := os.MkdirTemp("", "ampoule-bench-")
	if err != nil {
		return nil, nil, err
	}
	done = func() { os.RemoveAll(dir) }
	config, err := q.configure(dir)
	if err != nil {
		done()
		return nil, nil, err
	}
	image := filepath.Join(dir, "dns.elf")
	cmd := exec.CommandContext(ctx, mkimage, append(flags, "-app", "dns", "-config", config, "-o", image)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		done()
		return nil, nil, fmt.Errorf("mkimage: %w\n%s", err, out)
	}
	copied := *b
	one = &copied
	one.images = map[string]string{"dns": image}
	one.service = q.service()
	if q.names > 1000 {
		one.ram = 256
	}
	if q.v6 {
		one.address = netpeer.GuestIPv6
	}
	return one, done, nil
}
