package mgmt

import (
	"strings"

	"ampoule/libos/format"
	"ampoule/libos/http1"
)

// Route is what can be asked for. A Path may end in "/{name}", which stands for one
// segment, or have it before further ones.
type Route struct {
	Method, Path string
	Role         Role // that it takes
	Handle       func(*Call)
}

// Call is a request for a Route.
type Call struct {
	*http1.Exchange
	Name   string // what stands for {name}
	Who    string // the client, as in the log
	base   string // generation that is to be replaced, where there is no If-Match
	conn   *conn
	server *Server
}

// JSON and text are media types.
const (
	typeJSON = "application/json"
	typeText = "text/plain; charset=utf-8"
)

// Fail makes the response an error: a stable code and a sentence.
func (c *Call) Fail(status int, code, sentence string) { fail(c.Exchange, status, code, sentence) }

func fail(x *http1.Exchange, status int, code, sentence string) {
	var o object
	o.open('{')
	o.text("code", code)
	o.text("error", sentence)
	o.close('}')
	x.Status, x.Type, x.Out = status, typeJSON, append(o.b, '\n')
}

// reply makes the response what o has.
func (c *Call) reply(o *object) { c.Type, c.Out = typeJSON, append(o.b, '\n') }

// Text makes the response text.
func (c *Call) Text(b []byte) { c.Type, c.Out = typeText, b }

// allRoutes are the plane's own and those of its parts.
func (s *Server) allRoutes() ([]Route, error) {
	all := s.ownRoutes()
	for _, p := range s.cfg.Parts {
		all = append(all, p.Routes(s.host)...)
	}
	for i, r := range all {
		for _, o := range all[:i] {
			if r.Method == o.Method && r.Path == o.Path {
				return nil, format.Errorf("route %s %s is there twice", r.Method, r.Path)
			}
		}
	}
	return all, nil
}

// Routes lists what can be asked for.
func (s *Server) Routes() []Route { return s.routes }

// answer answers a request of a client.
func (s *Server) answer(c *conn, x *http1.Exchange) {
	defer s.finish(x)
	x.Set("Cache-Control", "no-store")
	x.Set("X-Content-Type-Options", "nosniff")
	if err := c.welcome(s.certs.Current(), x.Now); err != nil {
		// It may have been revoked, or have expired, since the handshake.
		s.count.denied.Add(1)
		x.Close = true
		fail(x, 401, "not-welcome", "Your certificate is not accepted any more.")
		return
	}
	s.route(c, x, "")
}

// do is a Do.
func (s *Server) do(who string, role Role, x *http1.Exchange, generation string) {
	defer s.finish(x)
	s.route(&conn{who: who, role: role}, x, generation)
}

// route has the route of a request answer it, if the client's role is enough.
func (s *Server) route(c *conn, x *http1.Exchange, base string) {
	route, name, allowed := s.find(x)
	switch {
	case c.role == None:
		s.count.denied.Add(1)
		fail(x, 403, "no-role", "Your certificate gives you no role here.")
	case route == nil && allowed == "":
		fail(x, 404, "no-route", "There is nothing of that name.")
	case route == nil:
		x.Set("Allow", allowed)
		fail(x, 405, "no-method", "It can't be asked for in that way.")
	case c.role < route.Role:
		s.count.denied.Add(1)
		s.audit(c.who, "denied "+route.Method+" "+route.Path, "no-permission")
		fail(x, 403, "no-permission", "Your role is "+c.role.String()+"; this takes "+route.Role.String()+".")
	default:
		route.Handle(&Call{Exchange: x, Name: name, Who: c.who, base: base, conn: c, server: s})
	}
}

// finish counts a response.
func (s *Server) finish(x *http1.Exchange) {
	s.count.requests[min(max(x.Status/100, 0), 5)].Add(1)
}

// find finds the route of a request, what stands for {name}, and the methods that
// its path has.
func (s *Server) find(x *http1.Exchange) (route *Route, name, allowed string) {
	for i := range s.routes {
		r := &s.routes[i]
		got, ok := match(r.Path, string(x.Path))
		if !ok {
			continue
		}
		if r.Method == string(x.Method) || r.Method == "GET" && string(x.Method) == "HEAD" {
			return r, got, ""
		}
		if allowed != "" {
			allowed += ", "
		}
		if allowed += r.Method; r.Method == "GET" {
			allowed += ", HEAD"
		}
	}
	return nil, "", allowed
}

// match compares a path with that of a route. Nothing in a path is decoded: what
// can stand for a name needs no percent sign.
func match(route, path string) (name string, ok bool) {
	before, after, variable := strings.Cut(route, "{name}")
	if !variable {
		return "", route == path
	}
	name, ok = strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, after)
	return name, ok && name != "" && !strings.Contains(name, "/")
}

// audit writes a line about a change, or an attempt at one.
func (s *Server) audit(who, what, result string, more ...any) {
	s.host.Log.Audit("management", append([]any{"who", who, "what", what, "result", result}, more...)...)
}
