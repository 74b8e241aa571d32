package httpd

import (
	"bytes"
	"strconv"
	"strings"

	"ampoule/libos/config/site"
)

// redirect responds to a plain request with where it is over HTTPS, and says whether
// it did: OPTIONS * is about the server, and a request without a host leads nowhere.
// 308 keeps the method, which clients older than it would not follow (RFC 9110,
// section 15.4.9); GET and HEAD get 301. The host is the one that was asked for, if
// the configuration has it, else the first site's name. Where that has none there is
// nothing else to go by.
func (s *server) redirect(q *site.Request, tail []byte, r *site.Response) bool {
	if string(q.Path) == "*" {
		return false
	}
	if len(q.Host) == 0 {
		s.Site.Refuse(400, q, tail, r)
		return true
	}
	if !s.Site.Knows(q.Host) {
		s.Site.Refuse(421, q, tail, r)
		return true
	}
	host := withoutPort(q.Host)
	if !s.Site.Names(q.Host) && len(s.Names) > 0 && !strings.HasPrefix(s.Names[0], "*") {
		host = []byte(s.Names[0])
	}
	status, line := 308, "HTTP/1.1 308 Permanent Redirect\r\n"
	if m := string(q.Method); m == "GET" || m == "HEAD" {
		status, line = 301, "HTTP/1.1 301 Moved Permanently\r\n"
	}
	b := make([]byte, 0, len(line)+len("Content-Length: 0\r\nLocation: https://:65535?\r\n")+len(host)+len(q.Path)+len(q.Query))
	b = append(append(b, line...), "Content-Length: 0\r\nLocation: https://"...)
	b = append(b, host...)
	if s.Redirect != 443 {
		b = strconv.AppendUint(append(b, ':'), uint64(s.Redirect), 10)
	}
	b = append(b, q.Path...)
	if q.Query != nil {
		b = append(append(b, '?'), q.Query...)
	}
	s.Site.Redirect(status, q, append(b, "\r\n"...), tail, r)
	return true
}

// withoutPort is a host that http1 has found good, without its port.
func withoutPort(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		return host[:i]
	}
	return host
}
