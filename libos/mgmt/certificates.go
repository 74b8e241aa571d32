package mgmt

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"

	"ampoule/libos/mgmt/certs"
)

// certificateRoutes are those of the certificates.
func (s *Server) certificateRoutes() []Route {
	all := []Route{
		{"GET", "/v1/certificates", Read, s.list},
		{"POST", "/v1/certificates/rollback", Operate, s.rollback},
		{"GET", "/v1/staged", Read, s.staged},
		{"POST", "/v1/staged/validate", Operate, s.validate},
		{"POST", "/v1/staged/commit", Operate, s.commit},
		{"POST", "/v1/staged/abort", Operate, s.abort},
	}
	for _, kind := range []certs.Kind{certs.KindCertificate, certs.KindAuthority, certs.KindRevoked, certs.KindStaple, certs.KindCRL} {
		all = append(all,
			Route{"PUT", "/v1/staged/" + string(kind) + "/{name}", Operate, func(c *Call) { s.stage(c, kind, false) }},
			Route{"DELETE", "/v1/staged/" + string(kind) + "/{name}", Operate, func(c *Call) { s.stage(c, kind, true) }})
	}
	return all
}

// changed writes the line about a change that was made, and counts it.
func (s *Server) changed(c *Call, what, result string, more ...any) {
	s.count.changes.Add(1)
	s.audit(c.Who, what, result, more...)
}

// status is that of a response to a problem.
func status(code certs.Code) int {
	switch code {
	case certs.Busy, certs.Nothing, certs.NoPrevious:
		return 409
	case certs.Conflict:
		return 412
	case certs.TooLarge:
		return 413
	case certs.StoreFailed:
		return 500
	}
	return 422
}

// refused answers with why something was refused, and writes a line about it.
func (s *Server) refused(c *Call, what string, err error) {
	var p *certs.Problem
	if !errors.As(err, &p) {
		p = &certs.Problem{Code: "failed", Sentence: err.Error()}
	}
	g := s.certs.Current().Number
	s.audit(c.Who, what, string(p.Code), "slot", p.Slot, "old", g, "new", g)
	c.Status = status(p.Code)
	var o object
	o.open('{')
	o.text("code", string(p.Code))
	o.text("error", p.Sentence)
	if p.Slot != "" {
		o.text("slot", p.Slot)
	}
	o.number("generation", g)
	o.close('}')
	c.reply(&o)
}

// stage adds a value to the client's transaction.
func (s *Server) stage(c *Call, kind certs.Kind, remove bool) {
	what := "stage " + string(kind) + "/" + c.Name
	if remove {
		what += " to go"
	}
	if err := s.certs.Stage(c.Who, kind, c.Name, c.Body, remove); err != nil {
		s.refused(c, what, err)
		return
	}
	g := s.certs.Current().Number
	s.audit(c.Who, what, "done", "old", g, "new", g)
	s.staged(c)
}

// staged lists what is staged.
func (s *Server) staged(c *Call) {
	who, until, all := s.certs.Staged()
	var o object
	o.open('{')
	o.number("generation", s.certs.Current().Number)
	if who != "" {
		o.text("who", who)
		o.time("until", until)
	}
	o.key("staged")
	o.open('[')
	for _, e := range all {
		o.open('{')
		o.text("kind", string(e.Kind))
		o.text("name", e.Name)
		o.flag("remove", e.Remove)
		o.close('}')
	}
	o.close(']')
	o.close('}')
	c.reply(&o)
}

// client is who asks, for package certs.
func (c *Call) client() certs.Client { return certs.Client{Who: c.Who, Chain: c.conn.chain} }

func (s *Server) validate(c *Call) {
	if err := s.certs.Validate(c.client()); err != nil {
		s.refused(c, "validate", err)
		return
	}
	s.staged(c)
}

func (s *Server) abort(c *Call) {
	who, _, _ := s.certs.Staged()
	if err := s.certs.Abort(); err != nil {
		s.refused(c, "abort", err)
		return
	}
	s.changed(c, "abort", "done", "of", who)
	c.Status = 204
}

func (s *Server) commit(c *Call) { s.replace(c, "commit", s.certs.Commit) }

func (s *Server) rollback(c *Call) { s.replace(c, "rollback", s.certs.Rollback) }

// replace makes a new generation, if the client knows the current one.
func (s *Server) replace(c *Call, what string, f func(certs.Client, uint64) (uint64, error)) {
	base, ok := c.ifMatch()
	if !ok {
		s.audit(c.Who, what, "precondition")
		c.Fail(428, "precondition", `It takes If-Match with the number of the generation that is to be replaced, in quotes: "7".`)
		return
	}
	number, err := f(c.client(), base)
	if err != nil {
		s.refused(c, what, err)
		return
	}
	s.changed(c, what, "done", "old", base, "new", number)
	s.list(c)
}

// ifMatch reads the generation that a client names (RFC 9110, section 13.1.1): one
// strong entity tag.
func (c *Call) ifMatch() (uint64, bool) {
	if c.base != "" {
		n, err := strconv.ParseUint(c.base, 10, 64)
		return n, err == nil
	}
	v, ok, err := c.Once("if-match")
	if !ok || err != nil || len(v) < 3 || v[0] != '"' || v[len(v)-1] != '"' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(v[1:len(v)-1]), 10, 64)
	return n, err == nil
}

// list lists the generation in force.
func (s *Server) list(c *Call) {
	g := s.certs.Current()
	c.Set("ETag", `"`+strconv.FormatUint(g.Number, 10)+`"`)
	var o object
	o.open('{')
	o.number("generation", g.Number)
	o.time("since", g.Since)
	o.text("who", g.Who)
	kept, _ := s.kept()
	o.flag("persisted", kept)
	o.flag("previous", s.certs.Previous())
	o.key("certificates")
	o.open('[')
	for _, name := range slots(g.Certificates) {
		x := g.Certificates[name]
		o.open('{')
		o.text("slot", name)
		o.certificate(x.Leaf())
		o.time("chain_not_after", x.Expiry())
		o.number("chain", uint64(len(x.TLS.Certificate)))
		o.strings("hosts", x.Hosts)
		if staple := x.Staple(); staple != nil {
			o.key("staple")
			o.open('{')
			o.time("this_update", staple.ThisUpdate)
			o.time("next_update", staple.NextUpdate)
			o.close('}')
		}
		o.close('}')
	}
	o.close(']')
	o.key("authorities")
	o.open('[')
	for _, name := range slots(g.Authorities) {
		o.open('{')
		o.text("slot", name)
		o.key("certificates")
		o.open('[')
		for _, x := range g.Authorities[name].Certificates {
			o.open('{')
			o.certificate(x)
			o.close('}')
		}
		o.close(']')
		if l := g.Authorities[name].Lists(); l != nil {
			o.key("crl")
			o.open('{')
			o.time("next_update", l.NextUpdate())
			o.number("revoked", uint64(l.Count()))
			o.close('}')
		}
		o.close('}')
	}
	o.close(']')
	var revoked []string
	for sum := range g.Revoked {
		revoked = append(revoked, hex.EncodeToString(sum[:]))
	}
	slices.Sort(revoked)
	o.strings("revoked", revoked)
	o.close('}')
	c.reply(&o)
}

// certificate writes what is to be known of a certificate.
func (o *object) certificate(x *x509.Certificate) {
	o.text("subject", x.Subject.String())
	o.text("issuer", x.Issuer.String())
	o.text("serial", x.SerialNumber.Text(16))
	o.text("sha256", fingerprint(x))
	o.text("key", keyName(x))
	o.time("not_before", x.NotBefore)
	o.time("not_after", x.NotAfter)
}

// strings writes a list of strings.
func (o *object) strings(name string, all []string) {
	o.key(name)
	o.open('[')
	for _, s := range all {
		o.item(s)
	}
	o.close(']')
}

// keyName is type and size of a certificate's key.
func keyName(x *x509.Certificate) string {
	switch k := x.PublicKey.(type) {
	case *rsa.PublicKey:
		return "RSA-" + strconv.Itoa(k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA-" + k.Curve.Params().Name
	}
	return x.PublicKeyAlgorithm.String()
}
