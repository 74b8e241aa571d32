package image

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"ampoule/libos/config/site"
	"ampoule/tools/configc/sitefolder"
	"ampoule/tools/configc/tree"
)

// HTTP is the table [http].
type HTTP struct {
	Port              int
	Idle, Read, Write time.Duration
	Table             site.Table
	Names             []string // of the sites, for metrics
	Access            int      // as in httpd
	Sample, Rate      int
}

// source writes the appliance's own part, but for the table. secure may be nil.
func (h *HTTP) source(w io.Writer, secure *HTTPS) {
	fmt.Fprintf(w, "\n// HTTP is the appliance's own part.\nvar HTTP = httpd.Config{\n\tPort: %d,\n\tSite: pages,\n", h.Port)
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"Idle", h.Idle}, {"Read", h.Read}, {"Write", h.Write}} {
		fmt.Fprintf(w, "\t%s: %d * time.Millisecond,\n", t.name, t.d.Milliseconds())
	}
	fmt.Fprintf(w, "\tLog: httpd.Log{Access: httpd.%s, Sample: %d, Rate: %d},\n\tNames: %#v,\n",
		[...]string{"LogNone", "LogErrors", "LogAll"}[h.Access], h.Sample, h.Rate, h.Names)
	if secure != nil {
		secure.source(w)
	}
	fmt.Fprint(w, "}\n")
}

var codings = choice{"br", "gzip", "zstd"}

func httpTable() *table {
	return &table{name: "http", about: "the appliance for static web sites", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 80, about: "port of TCP"},
		{name: "idle", want: duration{time.Second, time.Hour}, def: "15s", about: "how long a connection may wait for its next request"},
		{name: "read", want: duration{time.Second, 10 * time.Minute}, def: "10s", about: "how long the head of a request may take, from its first byte"},
		{name: "write", want: duration{time.Second, 10 * time.Minute}, def: "30s", about: "how long a client may take for each 32 KiB of a response"},
		{name: "access_log", want: choice{"none", "errors", "all"}, def: "none", about: "requests to log, where the log goes: none, those with status 400 or above, or all"},
		{name: "access_log_sample", want: integer{1, 1000000}, def: 1, about: "of requests without an error, log one of so many"},
		{name: "access_log_rate", want: integer{1, 100000}, def: 100, about: "lines of the access log in a second; how many are left out is logged"},
		{name: "strict_names", want: flag{}, def: false, about: "answer 421 for names that no site has, instead of with the first site"},
		{name: "sites", want: tables("a list of sites, each [[http.sites]] with a folder"), about: "the sites, at least one"},
	}}
}

func siteTable() *table {
	return &table{name: "http.sites", about: "a site, once for each: [[http.sites]]; all of its responses are made when the image is built", keys: []key{
		{name: "folder", want: text("the path of a folder, from the folder of this file"), about: "its files; links in it may lead to what is in it"},
		{name: "names", want: sequence(`a list of host names, such as ["www.example.org", "*.example.net"]`), absent: "all names; only if there is one site",
			about: "the names that it is at; *. is all below a name"},
		{name: "index", want: sequence(`a list of names of files, such as ["index.html"]`), absent: `["index.html"]`, about: "files that are what is at their folder"},
		{name: "clean_urls", want: flag{}, def: false, about: "about.html is at /about too"},
		{name: "charset", want: text(`the name of a charset, or ""`), def: "utf-8", about: "charset of text, for Content-Type"},
		{name: "codings", want: sequence("a list of " + quoted(codings)), absent: `["br", "gzip", "zstd"]`, about: "codings to offer, each where it makes a file smaller"},
		{name: "types", want: tables(`a table of content types by extension: types = { ".foo" = "text/x-foo" }`), absent: "the usual ones", about: "types of files, beside and before the usual ones"},
		{name: "max_size", want: size{1 << 10, 1 << 30}, absent: "64MiB", about: "the most that all files together may have"},
		{name: "dot_files", want: flag{}, def: false, about: "take in files and folders whose names begin with a dot; .well-known always is"},
		{name: "check_links", want: flag{}, def: false, about: "refuse links in HTML and style sheets to what is nowhere in the sites of the image"},
		{name: "security_headers", want: flag{}, def: true, about: "send X-Content-Type-Options with all files; with pages X-Frame-Options, Referrer-Policy, Content-Security-Policy (frames, base, forms, plug-ins) and Cross-Origin-Opener-Policy"},
		{name: "last_modified", want: text(`"none", "files" for the times of the files, or a time such as "2026-11-23T10:00:00Z"`), def: "none",
			about: "Last-Modified, beside entity tags; with files, two checkouts of one source make two images"},
		{name: "error_pages", want: tables(`a table of files by status: error_pages = { 404 = "404.html" }`), absent: "plain ones", about: "pages of errors, from the folder of the site"},
		{name: "redirects", want: tables("a list of redirects, each [[http.sites.redirects]] with from and to"), absent: "none but those of folders to their slash", about: "paths that are elsewhere"},
		{name: "headers", want: tables("a list of rules, each [[http.sites.headers]] with a path"), absent: "the defaults", about: "header fields by path"},
	}}
}

func siteRedirectTable() *table {
	return &table{name: "http.sites.redirects", about: "a redirect: [[http.sites.redirects]]", keys: []key{
		{name: "from", want: text(`a path as it is when decoded, such as "/old page"`), about: "the path that is elsewhere"},
		{name: "to", want: text(`a path or a URI, encoded, such as "/new%20page" or "https://example.net/"`), about: "where; the query of a request is kept unless this has one"},
		{name: "status", want: choice{"301", "302", "303", "307", "308"}, def: "301", about: "status of the response"},
	}}
}

func siteHeaderTable() *table {
	return &table{name: "http.sites.headers", about: "header fields of some paths: [[http.sites.headers]]; later ones go before", keys: []key{
		{name: "path", want: text(`a path in which * is any text, such as "/assets/*" or "*.css"`), about: `the paths; "/*" counts for pages of errors too`},
		{name: "cache", want: text("a value of Cache-Control"), absent: `"no-cache" for pages, "max-age=3600" for other files`, about: "Cache-Control"},
		{name: "set", want: tables(`a table of fields: set = { "X-Own" = "1" }`), absent: "none", about: `header fields; "" takes one away`},
	}}
}

func httpSection(s *section, all []*table) HTTP {
	h := HTTP{Port: s.integer("port"), Idle: s.duration("idle"), Read: s.duration("read"), Write: s.duration("write"),
		Access: s.choice("access_log"), Sample: s.integer("access_log_sample"), Rate: s.integer("access_log_rate")}
	other := 0
	if s.flag("strict_names") {
		other = -1
	}
	var hosts []*sitefolder.Host
	sites := s.tables("sites", all)
	taken := map[string]int{}
	for _, sub := range sites {
		host := siteSection(sub, all)
		if v := sub.value("names"); v == nil && len(sites) > 1 {
			s.list.Errorf(s.file, sub.table.Line, "http.sites.names: not there, must be %s, since there are several sites", sub.schema.key("names").want)
		} else if v == nil && other < 0 {
			s.list.Errorf(s.file, sub.table.Line, "http.sites.names: not there, must be %s, since http.strict_names is true", sub.schema.key("names").want)
		} else if v != nil {
			host.Names = sub.hostNames(v, taken)
		}
		if host.Folder != "" {
			hosts = append(hosts, host)
			h.Names = append(h.Names, append(host.Names, "*")[0])
		}
	}
	if len(hosts) == 0 {
		return h
	}
	web := sitefolder.Read(hosts, other, s.list)
	if !s.list.Failed() {
		table, err := site.Compile(web)
		if err != nil {
			s.list.Errorf(s.file, s.table.Line, "http.sites: can't be compiled: %v", err)
		}
		h.Table = table
	}
	return h
}

// hostNames reads the names of a site; taken says where others are.
func (s *section) hostNames(v *tree.Value, taken map[string]int) (names []string) {
	for _, v := range s.items("names", v) {
		name, _ := v.V.(string)
		lower := strings.ToLower(name)
		if !isHostname(strings.TrimPrefix(lower, "*.")) {
			s.refuse("names", v)
		} else if line := taken[lower]; line > 0 {
			s.repeat("names", v, line)
		} else {
			taken[lower] = v.Line
			names = append(names, lower)
		}
	}
	return names
}

// items returns the values of a list, which must have some.
func (s *section) items(key string, v *tree.Value) []*tree.Value {
	items, ok := v.V.([]*tree.Value)
	if !ok || len(items) == 0 {
		s.refuse(key, v)
	}
	return items
}

// siteSection reads one site, but for its names.
func siteSection(s *section, all []*table) *sitefolder.Host {
	h := &sitefolder.Host{Config: s.file, Line: s.table.Line,
		CleanURLs: s.flag("clean_urls"), DotFiles: s.flag("dot_files"), CheckLinks: s.flag("check_links"), Security: s.flag("security_headers"),
		Index: []string{"index.html"}, Charset: "utf-8", Codings: []site.Coding{site.Brotli, site.Gzip, site.Zstd},
		MaxBytes: 64 << 20, ErrorPages: map[int]sitefolder.ErrorPage{}, Types: map[string]string{},
	}
	if folder, v := s.text("folder"); v != nil {
		if folder == "" {
			s.refuse("folder", v)
		} else {
			h.Folder, h.Line = filepath.ToSlash(s.beside(folder)), v.Line
		}
	}
	if n := s.size("max_size"); n > 0 {
		h.MaxBytes = int64(n)
	}
	s.siteContent(h)
	s.errorPages(h)
	for _, sub := range s.tables("redirects", all) {
		sub.redirect(h)
	}
	for _, sub := range s.tables("headers", all) {
		sub.headers(h)
	}
	return h
}
