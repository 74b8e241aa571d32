package dhcp4

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"
)

// options is what we read of a message's options.
type options struct {
	kind           byte
	server, router netip.Addr
	bits           int // of the mask; 0: there is none
	lease          uint32
	renew, rebind  uint32
	clientID       []byte // part of the message
}

// readOptions reads the options field, and the fields file and sname where the
// overload option says that they hold options too (RFC 2132, section 9.3). A
// part of an option that is split (RFC 3396) has not the length that we want,
// and those that we want are never split, as they are short.
func readOptions(b []byte) (options, error) {
	var o options
	overload, err := o.field(b[atOptions:])
	if err == nil && overload&1 != 0 {
		_, err = o.field(b[atFile:atCookie])
	}
	if err == nil && overload&2 != 0 {
		_, err = o.field(b[atSname:atFile])
	}
	return o, err
}

// field reads one field, and answers the overload option's value.
func (o *options) field(b []byte) (overload byte, err error) {
	for len(b) > 0 {
		code := b[0]
		if b = b[1:]; code == optPad {
			continue
		}
		if code == optEnd {
			return overload, nil
		}
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return 0, errShort
		}
		v := b[1 : 1+int(b[0])]
		b = b[1+len(v):]
		if code == optOverload {
			if len(v) != 1 || v[0] < 1 || v[0] > 3 {
				return 0, errOption
			}
			overload = v[0]
		} else if !o.option(code, v) {
			return 0, errOption
		}
	}
	// The end option must be there, but some servers cut it off.
	return overload, nil
}

// option takes one option, and says false when it can't be one.
func (o *options) option(code byte, v []byte) bool {
	switch code {
	case optType:
		if len(v) != 1 || o.kind != 0 {
			return false
		}
		o.kind = v[0]
	case optMask:
		if len(v) != 4 {
			return false
		}
		m := binary.BigEndian.Uint32(v)
		o.bits = bits.LeadingZeros32(^m)
		return o.bits > 0 && m == ^uint32(0)<<(32-o.bits)
	case optRouter:
		if len(v) == 0 || len(v)%4 != 0 {
			return false
		}
		o.router = netip.AddrFrom4([4]byte(v))
	case optServer:
		if len(v) != 4 {
			return false
		}
		o.server = netip.AddrFrom4([4]byte(v))
	case optLease:
		return seconds(&o.lease, v)
	case optRenew:
		return seconds(&o.renew, v)
	case optRebind:
		return seconds(&o.rebind, v)
	case optClientID:
		o.clientID = v
	}
	return true
}

func seconds(to *uint32, v []byte) bool {
	if len(v) != 4 {
		return false
	}
	*to = binary.BigEndian.Uint32(v)
	return true
}

// A lease shorter than shortest counts as that long: a server that gives less
// would have us ask all the time. forever is what a server says for no end.
const (
	shortest = time.Minute
	forever  = 0xffffffff
)

// times sets the times of a lease: the server's where they make sense, else
// those of RFC 2131, section 4.4.5.
func (l *Lease) times(o options) {
	if o.lease == forever {
		// Asking once in a while does no harm, and finds a server that has
		// changed its mind.
		l.Expire = 136 * 365 * 24 * time.Hour
		l.Renew, l.Rebind = 24*time.Hour, l.Expire-time.Hour
		return
	}
	l.Expire = max(time.Duration(o.lease)*time.Second, shortest)
	l.Renew, l.Rebind = time.Duration(o.renew)*time.Second, time.Duration(o.rebind)*time.Second
	if l.Rebind <= 0 || l.Rebind >= l.Expire {
		l.Rebind = l.Expire / 8 * 7
	}
	if l.Renew <= 0 || l.Renew >= l.Rebind {
		l.Renew = min(l.Expire/2, l.Rebind/8*7)
	}
}
