package prf

import (
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// The first and the last of the authors' vectors for 128 bits (vectors.h of
// veorq/SipHash: key 00 to 0f, message 00 01 02 and so on).
func TestVectors(t *testing.T) {
	var key [KeySize]byte
	for i := range key {
		key[i] = byte(i)
	}
	for n, want := range map[int]string{
		0:  "a3817f04ba25a8e66df67214c7550293",
		1:  "da87c1d86b99af44347659119b22fc45",
		63: "5150d1772f50834a503e069a973fbd7c",
	} {
		h := New(key)
		for i := range n {
			h.Write([]byte{byte(i)})
		}
		sum := h.Sum(nil)
		if got := hex.EncodeToString(sum); got != want || h.Size() != Size {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

// TestSum32 compares sums made at once with those made piece by piece.
func TestSum32(t *testing.T) {
	var key [KeySize]byte
	for i := range key {
		key[i] = byte(i * 7)
	}
	for n := range 64 {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i)
		}
		h := New(key)
		h.Write(p[:n/3])
		h.Write(p[n/3:])
		if got, want := Sum32(&key, p), binary.LittleEndian.Uint32(h.Sum(nil)); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}
