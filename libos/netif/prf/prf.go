// Package prf is the keyed hash of the network stack: SipHash-2-4 with 128 bits
// (Aumasson and Bernstein, 2012), which is a pseudorandom function of what is
// written as long as the key is secret. That is what initial sequence numbers
// (RFC 6528, section 3), timestamp offsets (RFC 7323, section 5.4) and SYN
// cookies need. It is not a hash for data that whoever knows the key may choose,
// nor for signatures.
//
// gVisor takes SHA-256 and SHA-1, which cost more per connection, and bring the
// whole of crypto/internal/fips140 with its self-tests: 190 KB of an image that
// has no TLS.
package prf

import (
	"encoding/binary"
	"hash"

	"github.com/dchest/siphash"
)

const (
	KeySize = 16 // bytes
	Size    = 16 // of a sum, in bytes
)

// New is a hash with the key given, which it copies. The key must be random.
func New(key [KeySize]byte) hash.Hash { return siphash.New128(key[:]) }

// Sum32 is the beginning of the sum of p, as a little-endian number. It
// allocates nothing.
func Sum32(key *[KeySize]byte, p []byte) uint32 {
	lo, _ := siphash.Hash128(binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:]), p)
	return uint32(lo)
}
