package answer

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Sizes of the COOKIE option's data (RFC 7873 section 4): the client's cookie,
// and that with the server's of RFC 9018 section 4.
const (
	clientCookie = 8
	fullCookie   = 24
	maxCookie    = 40
)

// Times of RFC 9018 section 4.3, in seconds.
const (
	cookieAge    = 3600
	cookieAhead  = 300
	cookieRenew  = 1800
	cookieRotate = 24 * 3600 // of secrets made here
)

// Client is who asks: its address as on the wire, the first octet lowest, IPv4 in
// the low half of Addr[0]. The zero Client is nobody in particular: it gets no
// cookie, and is not limited.
type Client struct {
	Addr [2]uint64
	V4   bool
}

// addr returns the client's address.
func (c *Client) addr() netip.Addr {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], c.Addr[0])
	binary.LittleEndian.PutUint64(b[8:], c.Addr[1])
	if c.V4 {
		return netip.AddrFrom4([4]byte(b[:]))
	}
	return netip.AddrFrom16(b)
}

// NewClient returns the client at an address.
func NewClient(a netip.Addr) Client {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return Client{Addr: [2]uint64{uint64(binary.LittleEndian.Uint32(b[:]))}, V4: true}
	}
	b := a.As16()
	return Client{Addr: [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}}
}

// cookie is the data of the option as loaded, the first octet lowest: what the client
// made, then version, reserved octets and time, and the hash of all that (RFC 9018
// section 4).
type cookie struct{ client, stamp, hash uint64 }

// load reads a cookie with the server's part.
func (k *cookie) load(b []byte) {
	le := binary.LittleEndian
	k.client, k.stamp, k.hash = le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])
}

// put writes the data.
func (k *cookie) put(b *[fullCookie]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[:], k.client)
	le.PutUint64(b[8:], k.stamp)
	le.PutUint64(b[16:], k.hash)
}

// secrets are what cookies are made with, and checked: never changed but replaced.
type secrets struct {
	first  sipHash   // makes cookies
	others []sipHash // which are still checked
	rotate uint32    // when the first is replaced, in seconds since 1970; 0: never
}

// cookies makes and checks server cookies of version 1 (RFC 9018 section 4).
type cookies struct {
	secrets atomic.Pointer[secrets]
	mu      sync.Mutex // of those who replace them
	random  io.Reader
}

// newCookies takes secrets that are shared with other servers, the one to use
// first, or makes its own from random, which it replaces every day.
func newCookies(shared [][16]byte, now uint32, random io.Reader) (*cookies, error) {
	c := &cookies{random: random}
	if len(shared) > 0 {
		s := &secrets{first: newSipHash(shared[0])}
		for _, key := range shared[1:] {
			s.others = append(s.others, newSipHash(key))
		}
		c.secrets.Store(s)
		return c, nil
	}
	old, err := newSecret(random)
	if err != nil {
		return nil, err
	}
	c.secrets.Store(&secrets{first: newSipHash(old)})
	return c, c.renew(now)
}

// renew puts a new secret in the place of the first, which is still checked. They stay
// as they are when there is an error.
func (c *cookies) renew(now uint32) error {
	b, err := newSecret(c.random)
	if err != nil {
		return err
	}
	c.secrets.Store(&secrets{newSipHash(b), []sipHash{c.secrets.Load().first}, now + cookieRotate})
	return nil
}

// current returns the secrets, replaced if it is time for that.
func (c *cookies) current(now uint32) *secrets {
	s := c.secrets.Load()
	if !s.due(now) {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s = c.secrets.Load(); !s.due(now) || c.renew(now) != nil {
		return s
	}
	return c.secrets.Load()
}

func (s *secrets) due(now uint32) bool { return s.rotate != 0 && int32(now-s.rotate) >= 0 }

// newSecret draws a key.
func newSecret(random io.Reader) (b [16]byte, err error) {
	if random == nil {
		return b, errors.New("answer: no source of randomness")
	}
	_, err = io.ReadFull(random, b[:])
	return b, err
}

// answer makes k the cookie for the client that sent it: the same if that has the
// server's part (full), is good and young, else a new one. good says that the client
// has shown that it is at its address. now is in seconds since 1970, modulo 2^32.
func (c *cookies) answer(k *cookie, full bool, from *Client, now uint32) (good bool) {
	if full && uint8(k.stamp) == 1 && k.age(now) <= cookieAge+cookieAhead {
		s := c.secrets.Load()
		if s.first.hash(k.client, k.stamp, from) == k.hash {
			if k.age(now) <= cookieRenew+cookieAhead {
				return true
			}
			good = true
		} else {
			good = s.old(k, from)
		}
	}
	k.stamp = stampOf(now)
	k.hash = c.current(now).first.hash(k.client, k.stamp, from)
	return good
}

// age is how long ago the cookie was made, plus cookieAhead: by so much the clock of who
// made it may be ahead.
func (k *cookie) age(now uint32) uint32 {
	return now - bits.ReverseBytes32(uint32(k.stamp>>32)) + cookieAhead
}

// stampOf is the stamp of a cookie made now.
func stampOf(now uint32) uint64 { return uint64(bits.ReverseBytes32(now))<<32 | 1 }

// known are cookies that were made or found good a short while ago, by the client's
// part, which is a random number: a resolver sends the same one for half an hour. It
// belongs to one goroutine.
type known [256]knownCookie

type knownCookie struct {
	by *secrets // whose first has made it; nil: it is not known
	cookie
	from Client
}

// is says whether e is what the client is to get, whose cookie is that of q: if it has
// the server's part, that is good.
func (e *knownCookie) is(q *Scratch, from *Client, by *secrets) bool {
	return e.by == by && e.client == q.cookie.client && e.stamp == q.cookie.stamp && e.from == *from &&
		(!q.full || e.hash == q.cookie.hash && e.age(q.seconds) <= cookieRenew+cookieAhead)
}

// learn makes e that, and says whether what the client sent is good.
func (e *knownCookie) learn(c *cookies, q *Scratch, from *Client) (good bool) {
	by := c.secrets.Load()
	good = c.answer(&q.cookie, q.full, from, q.seconds)
	if c.secrets.Load() != by {
		by = nil // it may be by either
	}
	e.by, e.cookie, e.from = by, q.cookie, *from
	return good
}

// old says whether a cookie was made with one of the other secrets.
func (s *secrets) old(k *cookie, from *Client) bool {
	for i := range s.others {
		if s.others[i].hash(k.client, k.stamp, from) == k.hash {
			return true
		}
	}
	return false
}

// sipHash is the state of SipHash-2-4 (Aumasson and Bernstein, 2012) for a key.
type sipHash struct{ a, b, c, d uint64 }

func newSipHash(key [16]byte) sipHash {
	k0, k1 := binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	return sipHash{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
}

// hash is the hash of the client's cookie, the fields before the hash and the client's
// address (RFC 9018 section 4.4). It calls nothing, so that the state stays in
// registers.
func (s *sipHash) hash(client, stamp uint64, from *Client) uint64 {
	a, b, c, d := s.a, s.b, s.c, s.d^client
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	a ^= client
	d ^= stamp
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	a ^= stamp
	last := from.Addr[0]&0xffffffff | 20<<56
	if !from.V4 {
		for _, w := range from.Addr {
			d ^= w
			a, b, c, d = sipRound(a, b, c, d)
			a, b, c, d = sipRound(a, b, c, d)
			a ^= w
		}
		last = 32 << 56
	}
	d ^= last
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	a ^= last
	c ^= 0xff
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	return a ^ b ^ c ^ d
}

func sipRound(a, b, c, d uint64) (uint64, uint64, uint64, uint64) {
	a += b
	c += d
	b = bits.RotateLeft64(b, 13) ^ a
	d = bits.RotateLeft64(d, 16) ^ c
	a = bits.RotateLeft64(a, 32) + d
	c += b
	d = bits.RotateLeft64(d, 21) ^ a
	b = bits.RotateLeft64(b, 17) ^ c
	return a, b, bits.RotateLeft64(c, 32), d
}
