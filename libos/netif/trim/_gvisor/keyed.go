// Package keyed is the hash of secrets: sums are those of a key that is drawn
// when the first is made and never leaves this package.
package keyed

import (
	"hash"
	"sync"

	"ampoule/libos/netif/prf"
	"gvisor.dev/gvisor/pkg/rand"
)

const (
	Size      = prf.Size // of a sum, in bytes
	BlockSize = 64       // of a nonce that is hashed with data, in bytes
)

var key = sync.OnceValue(func() (k [prf.KeySize]byte) {
	if _, err := rand.Read(k[:]); err != nil {
		panic("no randomness: " + err.Error())
	}
	return k
})

// New starts a sum.
func New() hash.Hash { return prf.New(key()) }

// Sum32 is the first 32 bits of the sum of b.
func Sum32(b []byte) uint32 {
	k := key()
	return prf.Sum32(&k, b)
}
