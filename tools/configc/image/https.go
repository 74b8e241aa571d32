package image

import (
	"fmt"
	"io"
	"time"
)

// HTTPS is the table [https].
type HTTPS struct {
	Port                    int
	HTTP2, Redirect         bool
	HSTS                    time.Duration // 0: none
	Subdomains, Preload     bool
	Connections, Handshakes int
	Handshake               time.Duration
}

// year is the least that lists of HSTS which browsers have built in ask for.
const year = 365 * 24 * time.Hour

func httpsTable() *table {
	return &table{name: "https", about: "the sites over TLS, with the certificates of the management plane; left out, nothing of TLS is in the image", keys: []key{
		{name: "port", want: integer{1, 65535}, def: 443, about: "port of TCP"},
		{name: "http2", want: flag{}, def: true, about: "speak HTTP/2 too, with clients that offer it"},
		{name: "redirect", want: flag{}, def: true, about: "send plain requests to HTTPS (301; 308 for methods other than GET and HEAD), instead of answering them"},
		{name: "hsts", want: duration{time.Second, 2 * year}, absent: "not sent",
			about: "Strict-Transport-Security (RFC 6797): for how long browsers that have been here use HTTPS only; it can't be called back"},
		{name: "hsts_subdomains", want: flag{}, def: false, about: "so for all names below, too"},
		{name: "hsts_preload", want: flag{}, def: false, about: `consent to lists that browsers have built in; needs hsts of "8760h" or more and hsts_subdomains`},
		{name: "connections", want: integer{1, 30000}, def: 256, about: "connections open at a time; one more ends the one that is silent for longest, or one of a source with more than half. Handshakes have places of their own beside them"},
		{name: "handshakes", want: integer{1, 100000}, def: 200, about: "handshakes begun in a second, at most half of them by one source; more are refused"},
		{name: "handshake", want: duration{time.Second, time.Minute}, def: "10s", about: "how long one may take"},
	}}
}

func httpsSection(s *section, m *Management) *HTTPS {
	h := &HTTPS{Port: s.integer("port"), HTTP2: s.flag("http2"), Redirect: s.flag("redirect"),
		HSTS: s.duration("hsts"), Subdomains: s.flag("hsts_subdomains"), Preload: s.flag("hsts_preload"),
		Connections: s.integer("connections"), Handshakes: s.integer("handshakes"), Handshake: s.duration("handshake")}
	if m == nil {
		s.list.Errorf(s.file, s.table.Line, "https: there is no [management], which brings the certificates")
	}
	if v := s.value("hsts"); v != nil && h.HSTS%time.Second != 0 {
		s.against("hsts", v, "must be whole seconds")
	}
	if v := s.value("hsts_subdomains"); v != nil && h.Subdomains && h.HSTS == 0 {
		s.against("hsts_subdomains", v, "but there is no hsts")
	}
	if v := s.value("hsts_preload"); v != nil && h.Preload && (h.HSTS < year || !h.Subdomains) {
		s.against("hsts_preload", v, `but lists take only hsts of "8760h" or more, with hsts_subdomains`)
	}
	return h
}

// imports are the packages that source uses.
func (h *HTTPS) imports() []string {
	own := []string{"ampoule/appliances/http/https"}
	if h.HTTP2 {
		own = append(own, "ampoule/appliances/http/h2")
	}
	return own
}

// source writes the fields of httpd.Config.
func (h *HTTPS) source(w io.Writer) {
	if h.Redirect {
		fmt.Fprintf(w, "\tRedirect: %d,\n", h.Port)
	}
	fmt.Fprintf(w, "\tSecure: &https.Config{\n\t\tPort: %d,\n", h.Port)
	if h.HTTP2 {
		fmt.Fprint(w, "\t\tHTTP2: h2.Protocol{},\n")
	}
	if h.HSTS > 0 {
		value := fmt.Sprintf("max-age=%d", h.HSTS/time.Second)
		if h.Subdomains {
			value += "; includeSubDomains"
		}
		if h.Preload {
			value += "; preload"
		}
		fmt.Fprintf(w, "\t\tHSTS: %q,\n", value)
	}
	fmt.Fprintf(w, "\t\tConnections: %d,\n\t\tHandshakes: %d,\n\t\tHandshake: %d * time.Millisecond,\n\t},\n", h.Connections, h.Handshakes, h.Handshake.Milliseconds())
}
