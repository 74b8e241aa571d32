package tsig

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"time"

	"ampoule/appliances/dns/wire"
)

var (
	errUnsigned = errors.New("an answer without a signature to a signed query")
	errGap      = errors.New("too many messages without a signature")
	errOther    = errors.New("an answer signed with another key")
)

// Exchange is a signed query and what is needed to check its answer. It belongs to
// one goroutine.
type Exchange struct {
	key    *Key
	mac    []byte // of the message signed last
	d      digest // of the messages since then
	gap    int    // how many those are
	begun  bool
	signed bool // the last message was
}

// Sign appends a signature to the query msg.
func (k *Key) Sign(msg []byte, now time.Time) ([]byte, *Exchange) {
	r := record{name: k.Name, algorithm: k.Algorithm.Name, signed: uint64(now.Unix()), fudge: fudge,
		id: binary.BigEndian.Uint16(msg)}
	count(msg)
	d := k.digest(nil)
	d.message(msg, len(msg), r.id)
	d.variables(&r)
	r.mac = d.Sum(nil)
	return r.append(msg), &Exchange{key: k, mac: r.mac}
}

// Verify checks the next message of the answer, and returns it without its
// signature. The first message must be signed, of those behind it at least one in
// a hundred; Whole says whether the last one was. A nil Exchange takes any message
// that is not signed.
func (x *Exchange) Verify(msg []byte, now time.Time) ([]byte, error) {
	at, err := Locate(msg)
	if err != nil {
		return nil, err
	}
	if x == nil {
		if at > 0 {
			return nil, errors.New("a signed answer to a query that is not")
		}
		return msg, nil
	}
	if at == 0 {
		return msg, x.unsigned(msg)
	}
	r, err := parse(msg, at)
	switch {
	case err != nil:
		return nil, err
	case r.err == BadKey || r.err == BadSig: // such an answer cannot be signed
		return nil, r.err
	case r.name != x.key.Name || r.algorithm != x.key.Algorithm.Name:
		return nil, errOther
	case len(r.mac) != x.key.Algorithm.Size:
		return nil, BadTrunc
	}
	if x.gap == 0 {
		x.d = x.key.digest(x.mac)
	}
	x.d.message(msg, at, r.id)
	if x.begun {
		x.d.timers(&r)
	} else {
		x.d.variables(&r)
	}
	sum := x.d.Sum(nil)
	if subtle.ConstantTimeCompare(sum, r.mac) == 0 {
		return nil, BadSig
	}
	if r.err != OK {
		return nil, r.err
	}
	if !r.near(now) {
		return nil, BadTime
	}
	x.mac, x.gap, x.begun, x.signed = sum, 0, true, true
	be := binary.BigEndian
	be.PutUint16(msg[10:], be.Uint16(msg[10:])-1)
	return msg[:at], nil
}

// unsigned takes a message between two that are signed.
func (x *Exchange) unsigned(msg []byte) error {
	if !x.begun {
		return errUnsigned
	}
	if x.gap == maxGap {
		return errGap
	}
	if x.gap == 0 {
		x.d = x.key.digest(x.mac)
	}
	if len(msg) < wire.HeaderSize {
		return wire.ErrMessage
	}
	x.d.Write(msg)
	x.gap++
	x.signed = false
	return nil
}

// Whole says whether the answer may end with the message verified last.
func (x *Exchange) Whole() bool { return x == nil || x.signed }
