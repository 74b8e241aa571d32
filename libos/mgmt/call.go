package mgmt

import "strings"

// Query returns the parameters of the request, which must be among names, each
// there once at most and without a percent sign. False: they are not.
func (c *Call) Query(names ...string) (map[string]string, bool) {
	all := map[string]string{}
	if len(c.Exchange.Query) == 0 {
		return all, true
	}
	for _, pair := range strings.Split(string(c.Exchange.Query), "&") {
		name, value, ok := strings.Cut(pair, "=")
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if _, twice := all[name]; !ok || !known || twice || strings.ContainsAny(value, "%+") {
			return nil, false
		}
		all[name] = value
	}
	return all, true
}

// Audit writes a line about what the client does.
func (c *Call) Audit(what, result string, more ...any) { c.server.audit(c.Who, what, result, more...) }
