package hmac

import (
	"bytes"
	"testing"
)

// TestAmpPads compares with the definition (FIPS 198-1), for blocks and keys of any
// length.
func TestAmpPads(t *testing.T) {
	for block := range 150 {
		for n := 0; n <= block; n += 1 + n/4 {
			key := make([]byte, n)
			for i := range key {
				key[i] = byte(i*37 + n)
			}
			inner, outer := bytes.Repeat([]byte{0x36}, block), bytes.Repeat([]byte{0x5c}, block)
			for i, b := range key {
				inner[i] ^= b
				outer[i] ^= b
			}
			ipad, opad := make([]byte, block), make([]byte, block)
			if ampPads(ipad, opad, key); !bytes.Equal(ipad, inner) || !bytes.Equal(opad, outer) {
				t.Fatalf("block %d, key %d: %x, %x", block, n, ipad, opad)
			}
		}
	}
}
