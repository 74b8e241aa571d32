// Package sitefolder reads folders of files that are web sites, checks them, and
// makes the responses of package site of them: their types, codings, entity tags,
// header fields, redirects and error pages.
package sitefolder

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ampoule/libos/config/site"
	"ampoule/tools/configc/report"
)

// Host is one site: a folder and what the configuration says of it.
type Host struct {
	Config string // the configuration file, for messages
	Line   int    // where its folder is named
	Names  []string
	Folder string

	Index      []string          // names of files that are what is at their folder
	Charset    string            // of text; "" is none
	Codings    []site.Coding     // beside identity
	Types      map[string]string // content types by extension, beside the usual ones
	MaxBytes   int64             // of all files together
	DotFiles   bool              // names that begin with a dot are in the site too
	CleanURLs  bool              // /about is about.html
	Security   bool              // fields that protect from attacks in browsers
	CheckLinks bool              // a broken link within the sites is an error
	Modified   Modified          // what becomes of the files' times
	Fields     []Rule            // header fields by path
	Redirects  []Redirect
	ErrorPages map[int]ErrorPage // by status
}

// Modified says where Last-Modified comes from: nowhere, from the files, or it is
// At. Now bounds it: nothing was modified after the build (RFC 9110, section
// 8.8.2.1).
type Modified struct {
	Files bool
	At    time.Time
	Now   time.Time
}

// Rule sets header fields of the resources whose paths match.
type Rule struct {
	Line int
	Path string // with "*" for any text
	Set  []Field
	used bool
}

// Field is a header field; no value takes away one that is there by default or by
// an earlier rule.
type Field struct{ Name, Value string }

// Redirect leads from one path to somewhere else.
type Redirect struct {
	Line     int
	From, To string // a path, decoded; a URI reference
	Status   int
}

// ErrorPage is a file of the folder that is what an error's response has.
type ErrorPage struct {
	Line int
	File string // from the folder
}

// reader makes a site of a Host.
type reader struct {
	*Host
	list   *report.List
	files  []*file
	byName map[string]*file // by its name in the folder
	claims map[string]*claim
	out    site.Host
	pages  []*page // what links are looked for in

	encoders *encoders
}

// claim is who wants a path.
type claim struct {
	path string
	what string // for messages
	at   place
	file *file     // nil of a redirect
	to   *Redirect // of the configuration, or of a folder without its slash
}

type place struct {
	name string
	line int
}

// Read makes a site of all hosts; other is which one answers for names that none
// has, or -1. What is wrong goes to list, all of it; the site is of use when no
// error did.
func Read(hosts []*Host, other int, list *report.List) *site.Site {
	out := &site.Site{Other: other}
	var all []*reader
	enc := &encoders{}
	for _, h := range hosts {
		r := &reader{Host: h, list: list, byName: map[string]*file{}, claims: map[string]*claim{}, encoders: enc}
		all = append(all, r)
		r.walk()
		r.claimAll()
		r.respond()
	}
	w := newWeb(all, other)
	for _, r := range all {
		w.checkRedirects(r)
		if r.CheckLinks {
			w.checkLinks(r)
		}
		out.Hosts = append(out.Hosts, r.out)
	}
	return out
}

// claimAll finds out what is at which path.
func (r *reader) claimAll() {
	folders := map[string]*file{} // those with an index, by their path
	for _, f := range r.files {
		path := "/" + f.name
		r.claim(&claim{path: path, what: "the file " + f.name, at: f.place(), file: f})
		slash := strings.LastIndexByte(path, '/') + 1
		if base := path[slash:]; slices.Contains(r.Index, base) {
			r.claim(&claim{path: path[:slash], what: "the index " + f.name, at: f.place(), file: f})
			folders[path[:slash]] = f
		} else if name, ok := strings.CutSuffix(path, ".html"); ok && r.CleanURLs && !strings.HasSuffix(name, "/") {
			r.claim(&claim{path: name, what: "the file " + f.name + ", without its .html (clean_urls)", at: f.place(), file: f})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(folders)) {
		if path != "/" {
			bare := strings.TrimSuffix(path, "/")
			r.claim(&claim{path: bare, what: "the folder of " + folders[path].name, at: folders[path].place(),
				to: &Redirect{From: bare, To: escapePath(path), Status: 301}})
		}
	}
	for i := range r.Redirects {
		to := &r.Redirects[i]
		r.claim(&claim{path: to.From, what: "a redirect", at: place{r.Config, to.Line}, to: to})
	}
	if len(r.claims) == 0 && !r.list.Failed() {
		r.list.Errorf(r.Config, r.Line, "http.sites.folder: found no file in %s, must have one at least", r.Folder)
	}
}

// claim takes a path for c, or says who has it.
func (r *reader) claim(c *claim) {
	if old := r.claims[c.path]; old != nil {
		r.list.Errorf(c.at.name, c.at.line, "%s: %s and %s (%s) are both at this path; must be one", c.path, c.what, old.what, old.at)
		return
	}
	r.claims[c.path] = c
}

func (p place) String() string {
	if p.line == 0 {
		return p.name
	}
	return fmt.Sprintf("%s:%d", p.name, p.line)
}

// respond makes the responses of all paths.
func (r *reader) respond() {
	r.out.Names = r.Names
	for _, path := range slices.Sorted(maps.Keys(r.claims)) {
		c := r.claims[path]
		if len(path) > site.MaxPath {
			r.list.Errorf(c.at.name, c.at.line, "%.40s...: found a path of %d bytes, must be at most %d", path, len(path), site.MaxPath)
			continue
		}
		res := site.Resource{Path: path}
		if c.to != nil {
			res.Status, res.Location = c.to.Status, c.to.To
			res.KeepQuery = !strings.ContainsAny(res.Location, "?#")
			res.Fields = r.fields(path, "", false)
		} else if !r.content(c.file) {
			continue
		} else {
			res.Status, res.Type, res.Modified, res.Variants = 200, c.file.typ, c.file.modified, c.file.variants
			res.Fields = r.fields(path, c.file.typ, true)
		}
		r.out.Resources = append(r.out.Resources, res)
	}
	for _, status := range slices.Sorted(maps.Keys(r.ErrorPages)) {
		r.errorPage(status, r.ErrorPages[status])
	}
	r.out.ErrorFields = r.fields("", "text/html", false)
	for _, rule := range r.Fields {
		if !rule.used && len(r.claims) > 0 {
			r.list.Warnf(r.Config, rule.Line, "http.sites.headers.path: found %q, which no path of the site matches", rule.Path)
		}
	}
}

// errorPage makes the response of an error of a file.
func (r *reader) errorPage(status int, p ErrorPage) {
	f := r.byName[p.File]
	if f == nil {
		r.list.Errorf(r.Config, p.Line, "http.sites.error_pages: found %q, must be a file of the site, from its folder", p.File)
		return
	}
	if !r.content(f) {
		return
	}
	res := site.Resource{Status: status, Type: f.typ, Fields: r.fields("", f.typ, false)}
	for _, v := range f.variants {
		res.Variants = append(res.Variants, site.Variant{Coding: v.Coding, Body: v.Body})
	}
	r.out.Errors = append(r.out.Errors, res)
}
