package rotation

import (
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
	"ampoule/libos/store"
)

// storeKey is the key of disks, and StoreArgument what it is on the command line.
const (
	storeKey      = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
	StoreArgument = "store-key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

// DiskSize is how many bytes a disk has.
const DiskSize = 4 << 20

// Foreign is the content of a disk on which an appliance of another name has a
// generation, under the same key.
func Foreign(t testing.TB) []byte {
	t.Helper()
	const sector = 512
	d := devicetest.NewDisk(device.BlockInfo{Sectors: DiskSize / sector, SectorSize: sector})
	s, err := store.Open(store.Config{Disk: d, Owner: "dns/ns1", Key: []byte(storeKey)})
	if err == nil {
		_, err = s.Commit(0, []store.Change{{Name: "certificates/dot", Value: []byte("another's"), Private: true}})
	}
	out := make([]byte, DiskSize)
	if err == nil {
		err = d.ReadAt(out, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
