package site

// Knows says whether the table has an answer but 421 for a host, which is as in the
// Host field.
func (t Table) Knows(host []byte) bool { return t.findHost(host) >= 0 }

// Names says whether a host is one of the table's names, or below one with "*.".
func (t Table) Names(host []byte) bool { return t.findName(host) >= 0 }

// Refuse is Fail for a request that could be read: the page is its host's, and one of
// HEAD gets no body.
func (t Table) Refuse(status int, q *Request, tail []byte, r *Response) {
	r.Host = t.findHost(q.Host)
	t.fail(max(r.Host, 0), status, methodOf(q.Method), q, tail, r)
}

// Redirect makes r a redirect that is not of a table. head is its status line and
// fields without the empty line, tail as in Answer; both must hold as long as r.
func (t Table) Redirect(status int, q *Request, head, tail []byte, r *Response) {
	r.start(status)
	r.Host = t.findHost(q.Host)
	r.addBytes(head)
	r.addBytes(tail)
}
