package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ampoule/libos/device/devicetest"
)

// TestHedge: with random bytes that come again, whatever differs between two
// commits makes another salt.
func TestHedge(t *testing.T) {
	salt := func(key []byte, h header, values map[string]value) [32]byte {
		h.salt = [32]byte{5}
		if err := hedge(key, &h, slices.Sorted(maps.Keys(values)), values); err != nil {
			t.Fatal(err)
		}
		return h.salt
	}
	h := header{owner: [32]byte{1}, generation: 3}
	v := map[string]value{"a": {data: []byte("bc"), private: true}, "d": {}}
	salts := map[[32]byte]bool{salt(testKey, h, v): true, {5}: true}
	if !salts[salt(testKey, h, v)] {
		t.Error("the same commit has two salts")
	}
	other := []map[string]value{
		{"a": {data: []byte("bd"), private: true}, "d": {}}, {"a": {data: []byte("bc")}, "d": {}},
		{"ab": {data: []byte("c"), private: true}, "d": {}}, {"a": {data: []byte("bc"), private: true}}, {},
	}
	for _, v := range other {
		salts[salt(testKey, h, v)] = true
	}
	salts[salt(make([]byte, KeySize), h, v)] = true
	salts[salt(testKey, header{owner: [32]byte{2}, generation: 3}, v)] = true
	salts[salt(testKey, header{owner: [32]byte{1}, generation: 4}, v)] = true
	if len(salts) != 2+len(other)+3 {
		t.Errorf("%d salts, want %d", len(salts), 2+len(other)+3)
	}
}

// TestSilent: no error and no notice tells a key or a private value.
func TestSilent(t *testing.T) {
	secret := []byte("correct horse battery staple")
	key := bytes.Repeat([]byte("K"), KeySize)
	c := Config{Disk: newDisk(512), Owner: "test", Key: key}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	keep := []Change{{Name: "a.key", Value: secret, Private: true}}
	for gen := range uint64(2) {
		if _, err := s.Commit(gen, keep); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	for n := 0; n < headerSize*8+800; n += 13 {
		bit := n
		if n >= headerSize*8 {
			bit += (valuesAt - headerSize) * 8
		}
		d := copyOf(c.Disk.(*devicetest.Disk))
		flip(t, d, 1, bit)
		s, err := Open(Config{Disk: d, Owner: "test", Key: key})
		said = append(said, fmt.Sprint(err), s.Status().Notice)
		_, err = s.Commit(7, keep)
		said = append(said, fmt.Sprint(err))
		d.Spoil(0, true)
		_, err = s.Commit(s.Status().Generation, keep)
		said = append(said, fmt.Sprint(err), s.Status().Notice)
	}
	_, err = Open(Config{Disk: c.Disk, Owner: "test", Key: bytes.Repeat([]byte("L"), KeySize)})
	_, short := Open(Config{Disk: c.Disk, Key: key[:20]})
	said = append(said, fmt.Sprint(err), fmt.Sprint(short), fmt.Sprintf("%+v", s.Status()))
	for _, text := range said {
		for _, never := range []string{"horse", "KKK", "75 75", "4b4b", "LLL"} {
			if strings.Contains(text, never) {
				t.Fatalf("it says %q", text)
			}
		}
	}
}

// TestSecrets: nothing private is on the disk, and nothing is sealed twice in
// the same way.
func TestSecrets(t *testing.T) {
	d := newDisk(512)
	s := open(t, d)
	secret := map[string]string{"a.key": "correct horse battery staple"}
	salts := map[string]bool{}
	for range 6 {
		commit(t, s, secret)
		for slot := range uint64(2) {
			p := sectors(t, d, slot*slotSectors, 16)
			if bytes.Contains(p, []byte("horse")) {
				t.Fatal("a private value is on the disk as it is")
			}
			salts[string(p[64:96])] = true
		}
	}
	if len(salts) != 7 { // and the zeros of the empty slot
		t.Errorf("%d salts in 6 commits", len(salts)-1)
	}
}

// forge makes slot B say what change does to its bytes, with all checksums that
// need no key.
func forge(t *testing.T, d *devicetest.Disk, change func(head, values []byte)) {
	head, values := sectors(t, d, slotSectors, 1), sectors(t, d, slotSectors+8, 1)
	change(head, values)
	sum := sha256.Sum256(values[:binary.LittleEndian.Uint32(head[24:])])
	copy(head[96:], sum[:])
	sum = sha256.Sum256(head[:checksumAt])
	copy(head[checksumAt:], sum[:])
	put(t, d, slotSectors, head)
	put(t, d, slotSectors+8, values)
}

// TestForgery: who can write the disk and has no key makes no generation.
func TestForgery(t *testing.T) {
	for name, change := range map[string]func(head, values []byte){
		"public value":      func(_, v []byte) { v[recordSize+1] ^= 1 },
		"private value":     func(_, v []byte) { v[40] ^= 1 },
		"later generation":  func(h, _ []byte) { h[16] = 9 },
		"no longer sealed":  func(h, v []byte) { h[12] = 0; clear(h[proofAt:checksumAt]) },
		"begun, not signed": func(h, _ []byte) { h[10] = stateBegun },
		"other salt":        func(h, _ []byte) { h[64] ^= 1 },
	} {
		d := two(t)
		forge(t, d, change)
		s := open(t, d)
		same(t, s, old)
		if st := s.Status(); st.Generation != 1 || st.Notice == "" {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

// TestBound: a sealed value opens under its own name, generation and owner only.
func TestBound(t *testing.T) {
	h := header{generation: 3, owner: [32]byte{1}, salt: [32]byte{2}}
	k, err := derive(testKey, &h)
	if err != nil {
		t.Fatal(err)
	}
	sealed := k.seal.Seal(nil, nonce(0), []byte("secret"), bound(&h, "a"))
	for name, c := range map[string]struct {
		h header
		n string
		i uint32
	}{
		"name":       {h, "b", 0},
		"generation": {header{generation: 4, owner: h.owner, salt: h.salt}, "a", 0},
		"owner":      {header{generation: 3, owner: [32]byte{9}, salt: h.salt}, "a", 0},
		"place":      {h, "a", 1},
		"salt":       {header{generation: 3, owner: h.owner, salt: [32]byte{9}}, "a", 0},
		"":           {h, "a", 0},
	} {
		k, err := derive(testKey, &c.h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.seal.Open(nil, nonce(c.i), sealed, bound(&c.h, c.n)); (err == nil) != (name == "") {
			t.Errorf("with another %q: %v", name, err)
		}
	}
}
