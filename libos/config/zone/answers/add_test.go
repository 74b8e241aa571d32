package answers

import (
	"bytes"
	"fmt"
	"testing"

	"ampoule/libos/config/zone"
)

// TestAddWithin: aliases to a name with many sets would each have a copy of all of
// them; those for which there is no room are left out, and cost no time either.
func TestAddWithin(t *testing.T) {
	soa := append([]byte("\x00\x00"), make([]byte, 20)...)
	all := []zone.Record{{Owner: []byte("\x01z\x00"), Type: zone.TypeSOA, TTL: 60, Data: soa}}
	for i := range 1000 {
		label := fmt.Sprintf("%04d", i)
		all = append(all, zone.Record{Owner: []byte("\x04" + label + "\x01z\x00"), Type: zone.TypeCNAME, TTL: 60, Data: []byte("\x01t\x01z\x00")})
		if i < 200 {
			all = append(all, zone.Record{Owner: []byte("\x01t\x01z\x00"), Type: uint16(1000 + i), TTL: 60, Data: bytes.Repeat([]byte{7}, 100)})
		}
	}
	z, err := zone.Compile([]byte("\x01z\x00"), all)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Add(z)
	if err != nil || len(whole) < 20<<20 {
		t.Fatalf("%d bytes with all answers, %v: the zone is not what this test is about", len(whole), err)
	}
	const room = 100_000
	b, err := AddWithin(z, room)
	if err != nil {
		t.Fatal(err)
	}
	// The last node may go beyond the room by its list and one answer.
	if most := len(z) + room + 200*listEntry + maxReady; len(b) > most || len(b) < len(z)+room/2 {
		t.Errorf("%d bytes with answers of %d, want %d at most", len(b), room, most)
	}
	if allocs := testing.AllocsPerRun(1, func() { AddWithin(z, room) }); allocs > 20_000 {
		t.Errorf("%v allocations: it goes on when there is no room", allocs)
	}
}

// listEntry is the size of an entry in a list of answers.
const listEntry = 10
