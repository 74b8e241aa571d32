package site

// Answer decides the response to q and puts it into r. tail ends each head: the
// fields that are the server's to say (Date, Connection), each with its CR LF, and
// the empty line.
func (t Table) Answer(q *Request, tail []byte, r *Response) {
	host := t.findHost(q.Host)
	if r.Host = host; host < 0 {
		t.fail(0, 421, methodOf(q.Method), q, tail, r)
		return
	}
	m := methodOf(q.Method)
	if m == unknown {
		t.fail(host, 501, m, q, tail, r)
		return
	}
	if m == options && string(q.Path) == "*" {
		r.start(204)
		r.add(optionsHead)
		r.addBytes(tail)
		return
	}
	res, ok := t.find(host, q.Path)
	switch {
	case !ok:
		t.fail(host, 400, m, q, tail, r)
	case res == 0:
		t.fail(host, 404, m, q, tail, r)
	case m == options:
		r.start(204)
		r.add(optionsHead)
		r.add(t.shared(res))
		r.addBytes(tail)
	case t.flags(res)&redirect != 0:
		t.redirect(res, q, tail, r)
	case m == refused:
		t.fail(host, 405, m, q, tail, r)
	default:
		t.represent(host, res, m, q, tail, r)
	}
}

// Fail puts the response to a request that could not be read into r, or to one that
// cannot be answered: one of 400, 408, 413, 414, 416, 417, 429, 431, 500, 501, 503
// and 505; what is none of these becomes 500. Its page is the first host's.
func (t Table) Fail(status int, tail []byte, r *Response) {
	var q Request
	r.Host = -1
	t.fail(0, status, get, &q, tail, r)
}

// fail responds with an error.
func (t Table) fail(host, status int, m method, q *Request, tail []byte, r *Response) {
	v := t.failHead(host, status, q, r)
	r.addBytes(tail)
	r.addBody(m, t.body(v))
}

// failHead starts an error's response: all but the tail and the body.
func (t Table) failHead(host, status int, q *Request, r *Response) variant {
	at := t.u32(t.u32(4) + host*hostSize)
	res := resource(0)
	for ; t.u32(at) != 0; at += 8 {
		if s := t.u32(at); s == status || s == 500 && res == 0 {
			res = resource(t.u32(at + 4))
		}
	}
	r.start(t.status(res))
	v := t.negotiate(res, q)
	r.Coding = t.coding(v)
	r.add(t.part(v, atHead, atEnd))
	r.add(t.shared(res))
	return v
}

// redirect responds with another place (RFC 9110, section 15.4).
func (t Table) redirect(res resource, q *Request, tail []byte, r *Response) {
	v := t.variant(res, 0)
	r.start(t.status(res))
	if t.flags(res)&keepQuery != 0 && len(q.Query) > 0 && harmless(q.Query) {
		r.add(t.part(v, atHead, atType))
		r.add(queryMark)
		r.addBytes(q.Query)
		r.add(t.part(v, atType, atEnd))
	} else {
		r.add(t.part(v, atHead, atEnd))
	}
	r.add(t.shared(res))
	r.addBytes(tail)
}

// harmless says whether a query can stand in a header field.
func harmless(query []byte) bool {
	for _, c := range query {
		if c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// represent responds to GET and HEAD with a representation, or what its conditions
// make of it (RFC 9110, section 13.2.2).
func (t Table) represent(host int, res resource, m method, q *Request, tail []byte, r *Response) {
	v := t.negotiate(res, q)
	switch t.judge(res, v, q) {
	case notModified:
		r.start(304)
		r.add(notModifiedLine)
		r.add(t.part(v, atValid, atEnd))
		r.add(t.shared(res))
		r.addBytes(tail)
		return
	case failed:
		t.fail(host, 412, m, q, tail, r)
		return
	}
	// Range is for GET alone (section 14.2), and there is no range of nothing.
	if f := &q.fields[rangeField]; f.there && m == get && t.size(v) > 0 && t.sameRange(res, v, q) {
		if t.ranges(host, res, v, f.value, q, tail, r) {
			return
		}
	}
	r.start(200)
	r.Coding = t.coding(v)
	r.add(t.part(v, atHead, atEnd))
	r.add(t.shared(res))
	r.addBytes(tail)
	r.addBody(m, t.body(v))
}
