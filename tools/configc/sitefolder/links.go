package sitefolder

import (
	"net/url"
	"path"
	"strings"
)

// web is all sites of an image, as links see them.
type web struct {
	byName map[string]*reader
	other  *reader
	ids    map[*file]map[string]bool
}

func newWeb(all []*reader, other int) *web {
	w := &web{byName: map[string]*reader{}, ids: map[*file]map[string]bool{}}
	for i, r := range all {
		for _, name := range r.Names {
			w.byName[name] = r
		}
		if i == other {
			w.other = r
		}
		for _, p := range r.pages {
			w.ids[p.file] = p.ids
		}
	}
	return w
}

// find resolves a reference from a path of a site: in is the site of ours that it
// leads to, nil when it leads to none; c is what is there, or nil.
func (w *web) find(r *reader, base *url.URL, to string) (c *claim, at *url.URL, in *reader) {
	ref, err := url.Parse(to)
	if err != nil {
		if strings.Contains(to, ":") {
			return nil, nil, nil
		}
		return nil, &url.URL{}, r
	}
	at = base.ResolveReference(ref)
	if at.Scheme != "" && at.Scheme != "http" && at.Scheme != "https" || at.Opaque != "" {
		return nil, at, nil
	}
	if in = r; at.Host != "" {
		if in = w.byName[strings.ToLower(at.Hostname())]; in == nil {
			return nil, at, nil
		}
	}
	return in.claims[normal(at.Path)], at, in
}

// normal is a decoded path as the server makes it (libos/config/site).
func normal(p string) string {
	clean := path.Clean("/" + p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}

// checkLinks reports all references of a site's pages to what is nowhere.
func (w *web) checkLinks(r *reader) {
	for _, p := range r.pages {
		base := &url.URL{Path: "/" + p.file.name}
		if p.base != "" {
			b, err := url.Parse(p.base)
			if err != nil {
				r.list.Errorf(p.file.shown, 0, "found the base %q, must be a URI reference", p.base)
				continue
			}
			base = base.ResolveReference(b)
		}
		for _, l := range p.links {
			w.checkLink(r, p, base, l)
		}
	}
}

func (w *web) checkLink(r *reader, p *page, base *url.URL, l link) {
	c, at, in := w.find(r, base, l.to)
	if in == nil {
		return
	}
	if c == nil {
		r.list.Errorf(p.file.shown, l.line, "found a link to %q, which is nowhere in the site; must lead to something", l.to)
		return
	}
	for range maxHops {
		if c == nil || c.to == nil {
			break
		}
		if c, _, in = w.find(in, &url.URL{Path: c.path}, c.to.To); in == nil {
			return
		}
	}
	if c == nil || c.file == nil || at.Fragment == "" || at.Fragment == "top" || strings.HasPrefix(at.Fragment, ":~:") {
		return
	}
	if ids := w.ids[c.file]; ids != nil && !ids[at.Fragment] {
		r.list.Errorf(p.file.shown, l.line, "found a link to %q, but nothing in %s has the id %q; must lead to something", l.to, c.file.shown, at.Fragment)
	}
}

// maxHops is how many redirects a client follows: more is as good as a loop.
const maxHops = 10

// checkRedirects reports redirects that lead round in circles, or to nothing.
func (w *web) checkRedirects(r *reader) {
	for i := range r.Redirects {
		first := &r.Redirects[i]
		way := []string{first.From}
		at, c := r, r.claims[first.From]
		for c != nil && c.to != nil && len(way) <= maxHops {
			next, _, in := w.find(at, &url.URL{Path: c.path}, c.to.To)
			if in == nil {
				break
			}
			if next == nil {
				if c.to == first {
					r.list.Errorf(r.Config, first.Line, "http.sites.redirects.to: found %q, which is nowhere in the site; must lead to something", first.To)
				}
				break
			}
			way, at, c = append(way, next.path), in, next
		}
		if len(way) > maxHops {
			r.list.Errorf(r.Config, first.Line, "http.sites.redirects.to: found a loop or more than %d redirects, from %s; must lead to something",
				maxHops, strings.Join(way[:4], " to ")+" ...")
		}
	}
}
