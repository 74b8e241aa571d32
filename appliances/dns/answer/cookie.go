package answer

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"net/netip"
	"sync"
	"time"
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

// secret is a key of SipHash-2-4.
type secret [2]uint64

// cookies makes and checks server cookies of version 1 (RFC 9018 section 4). The
// zero value makes none.
type cookies struct {
	mu      sync.Mutex
	secrets []secret // the first makes cookies, all check them
	rotate  uint32   // when the first is replaced, in seconds since 1970; 0: never
	random  io.Reader
}

// newCookies takes secrets that are shared with other servers, the one to use
// first, or makes its own from random, which it replaces every day.
func newCookies(shared [][16]byte, now time.Time, random io.Reader) (*cookies, error) {
	c := &cookies{random: random}
	for _, s := range shared {
		le := binary.LittleEndian
		c.secrets = append(c.secrets, secret{le.Uint64(s[:]), le.Uint64(s[8:])})
	}
	if len(shared) == 0 {
		c.secrets = make([]secret, 2)
		for range c.secrets {
			if err := c.renew(); err != nil {
				return nil, err
			}
		}
		c.rotate = uint32(now.Unix()) + cookieRotate
	}
	return c, nil
}

// renew puts a new secret in the place of the first, and that in the place of the
// second. They stay as they are when there is an error.
func (c *cookies) renew() error {
	s, err := newSecret(c.random)
	if err != nil {
		return err
	}
	c.secrets[1], c.secrets[0] = c.secrets[0], s
	return nil
}

func newSecret(random io.Reader) (secret, error) {
	if random == nil {
		return secret{}, errors.New("answer: no source of randomness")
	}
	var b [16]byte
	_, err := io.ReadFull(random, b[:])
	return secret{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}, err
}

// answer makes the option's data for a client's, which is of valid length: the
// same if that is good and young, else a new one. good says that the client has
// shown that it is at its address.
func (c *cookies) answer(out *[fullCookie]byte, in []byte, from *Client, now uint32) (good bool) {
	le := binary.LittleEndian
	c.mu.Lock()
	defer c.mu.Unlock()
	client := le.Uint64(in)
	if len(in) == fullCookie {
		stamp := le.Uint64(in[8:])
		age := int32(now - bits.ReverseBytes32(uint32(stamp>>32)))
		if uint8(stamp) == 1 && age <= cookieAge && age >= -cookieAhead {
			for i := range c.secrets {
				if c.secrets[i].hash(client, stamp, from) != le.Uint64(in[16:]) {
					continue
				}
				if i == 0 && age <= cookieRenew {
					copy(out[:], in)
					return true
				}
				good = true
				break
			}
		}
	}
	if c.rotate != 0 && int32(now-c.rotate) >= 0 {
		if c.renew() == nil {
			c.rotate = now + cookieRotate
		}
	}
	stamp := uint64(bits.ReverseBytes32(now))<<32 | 1
	le.PutUint64(out[:], client)
	le.PutUint64(out[8:], stamp)
	le.PutUint64(out[16:], c.secrets[0].hash(client, stamp, from))
	return good
}

// hash is SipHash-2-4 of the client's cookie, the fields before the hash and the
// client's address (RFC 9018 section 4.4).
func (k *secret) hash(client, stamp uint64, from *Client) uint64 {
	s := sipHash{k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d, k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573}
	s.add(client)
	s.add(stamp)
	if from.V4 {
		s.add(from.Addr[0]&0xffffffff | 20<<56)
	} else {
		s.add(from.Addr[0])
		s.add(from.Addr[1])
		s.add(32 << 56)
	}
	s.c ^= 0xff
	for range 4 {
		s.round()
	}
	return s.a ^ s.b ^ s.c ^ s.d
}

// sipHash is the state of SipHash-2-4 (Aumasson and Bernstein, 2012).
type sipHash struct{ a, b, c, d uint64 }

func (s *sipHash) add(w uint64) {
	s.d ^= w
	s.round()
	s.round()
	s.a ^= w
}

func (s *sipHash) round() {
	a, b, c, d := s.a, s.b, s.c, s.d
	a += b
	c += d
	b = bits.RotateLeft64(b, 13) ^ a
	d = bits.RotateLeft64(d, 16) ^ c
	a = bits.RotateLeft64(a, 32) + d
	c += b
	d = bits.RotateLeft64(d, 21) ^ a
	b = bits.RotateLeft64(b, 17) ^ c
	c = bits.RotateLeft64(c, 32)
	s.a, s.b, s.c, s.d = a, b, c, d
}
