package tsig

import (
	"crypto/subtle"
	"encoding/binary"
	"time"

	"ampoule/appliances/dns/wire"
)

// Request is a signed request and what is needed to sign its answer, which may be
// of several messages. It belongs to one goroutine.
type Request struct {
	key   *Key // nil: the answer is not signed
	err   Error
	in    record
	other [maxOther]byte
	mac   []byte // of the message signed last
	begun bool   // an answer is signed
}

// Verify checks the signature of a request whose TSIG record starts at msg[at:].
// An error says that the record is malformed; whether the signature is right is
// for Request.Error to say.
func (r Ring) Verify(msg []byte, at int, now time.Time) (*Request, error) {
	in, err := parse(msg, at)
	if err != nil {
		return nil, err
	}
	q := &Request{in: in}
	key := r.Find(in.name)
	if key == nil || key.Algorithm.Name != in.algorithm {
		q.err = BadKey
		return q, nil
	}
	size := key.Algorithm.Size
	if len(in.mac) > size || len(in.mac) < max(10, size/2) {
		return nil, wire.ErrMessage // section 5.2.2.1
	}
	d := key.digest(nil)
	d.message(msg, at, in.id)
	d.variables(&in)
	if subtle.ConstantTimeCompare(d.Sum(nil)[:len(in.mac)], in.mac) == 0 {
		q.err = BadSig
		return q, nil
	}
	q.key = key
	q.mac = append(q.mac, in.mac...)
	switch {
	case !in.near(now):
		q.err = BadTime
	case len(in.mac) < size:
		q.err = BadTrunc
	}
	return q, nil
}

// Key returns the key that the request is signed with, or nil if it is not signed
// well.
func (q *Request) Key() *Key {
	if q == nil || q.err != OK {
		return nil
	}
	return q.key
}

// Error says what is wrong with the request's signature. The answer's response
// code is then NOTAUTH (section 5.2). Nothing is wrong where there is none.
func (q *Request) Error() Error {
	if q == nil {
		return OK
	}
	return q.err
}

// Size returns how many octets Append adds at most.
func (q *Request) Size() int {
	if q == nil {
		return 0
	}
	mac := 0
	if q.key != nil {
		mac = q.key.Algorithm.Size
	}
	return q.in.size(mac)
}

// Append signs the next message of the answer, buf[:n], and returns its new
// length. There must be room for Size octets more.
func (q *Request) Append(buf []byte, n int, now time.Time) int {
	if q == nil {
		return n
	}
	out := record{name: q.in.name, algorithm: q.in.algorithm, fudge: fudge, err: q.err,
		signed: uint64(now.Unix()), id: binary.BigEndian.Uint16(buf)}
	if q.err == BadTime { // section 5.2.3
		out.other = q.other[:]
		binary.BigEndian.PutUint16(out.other, uint16(out.signed>>32))
		binary.BigEndian.PutUint32(out.other[2:], uint32(out.signed))
		out.signed = q.in.signed
	}
	count(buf)
	if q.key != nil {
		d := q.key.digest(q.mac)
		d.message(buf, n, out.id)
		if q.begun {
			d.timers(&out)
		} else {
			d.variables(&out)
		}
		q.mac = d.Sum(q.mac[:0])
		out.mac, q.begun = q.mac, true
	}
	return len(out.append(buf[:n]))
}
