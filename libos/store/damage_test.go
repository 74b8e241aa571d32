package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
)

const slotSectors = SlotSize / 512

// copyOf is a disk that can be spoiled.
func copyOf(d *devicetest.Disk) *devicetest.Disk {
	return d.Outcome(func(int) int { return 0 })
}

func sectors(t testing.TB, d *devicetest.Disk, at uint64, n int) []byte {
	t.Helper()
	p := make([]byte, n*512)
	if err := d.ReadAt(p, at); err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t testing.TB, d *devicetest.Disk, at uint64, p []byte) {
	t.Helper()
	if err := errors.Join(d.WriteAt(p, at), d.Flush()); err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit of a slot.
func flip(t testing.TB, d *devicetest.Disk, slot, bit int) {
	at := uint64(slot*slotSectors + bit/4096)
	p := sectors(t, d, at, 1)
	p[bit/8%512] ^= 1 << (bit % 8)
	put(t, d, at, p)
}

var old, latest = map[string]string{"a": "old", "b.key": "old secret"}, map[string]string{"a": "new", "b.key": "new secret"}

// two is a disk with generation 1 in slot A and 2 in B.
func two(t testing.TB) *devicetest.Disk {
	d := newDisk(512)
	s := open(t, d)
	commit(t, s, old)
	commit(t, s, latest)
	return d
}

// TestDamage: whatever bit of a slot flips, the other one is used, and a notice
// says so when it is the older one; with both damaged the disk is refused.
func TestDamage(t *testing.T) {
	whole := two(t)
	var bits []int
	for b := range headerSize * 8 {
		bits = append(bits, b)
	}
	length := int(binary.LittleEndian.Uint32(sectors(t, whole, slotSectors, 1)[24:]))
	for b := range length * 8 {
		bits = append(bits, valuesAt*8+b)
	}
	for i, b := range bits {
		d := copyOf(whole)
		flip(t, d, 1, b)
		s := open(t, d)
		same(t, s, old)
		if st := s.Status(); st.Generation != 1 || !strings.Contains(st.Notice, "slot B") {
			t.Fatalf("bit %d of the newer slot: %+v", b, st)
		}
		if i%7 != 0 {
			continue
		}
		d = copyOf(whole)
		flip(t, d, 0, b)
		s = open(t, d)
		same(t, s, latest)
		if st := s.Status(); st.Generation != 2 || !strings.Contains(st.Notice, "slot A") {
			t.Fatalf("bit %d of the older slot: %+v", b, st)
		}
		flip(t, d, 1, bits[(i*31)%len(bits)])
		before := sectors(t, d, slotSectors, 12)
		_, err := Open(config(d))
		if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrKey) {
			t.Fatalf("bits %d and %d: %v", b, bits[(i*31)%len(bits)], err)
		}
		if !bytes.Equal(before, sectors(t, d, slotSectors, 12)) {
			t.Fatal("a disk that was refused has changed")
		}
	}
}

func TestDamagedThenCommit(t *testing.T) {
	d := two(t)
	flip(t, d, 1, 300)
	s := open(t, d)
	want := map[string]string{"a": "3", "b.key": "3"}
	commit(t, s, want)
	if st := s.Status(); st.Notice != "" {
		t.Errorf("after a commit: %+v", st)
	}
	same(t, open(t, d), want)
}

func TestUnreadableSlot(t *testing.T) {
	d := two(t)
	d.Spoil(slotSectors+8, true)
	s := open(t, d)
	same(t, s, old)
	if st := s.Status(); !strings.Contains(st.Notice, "slot B") {
		t.Errorf("%+v", st)
	}
	d.Spoil(0, true)
	if _, err := Open(config(d)); !errors.Is(err, ErrDamaged) {
		t.Errorf("both unreadable: %v", err)
	}
}

func TestForeignDisks(t *testing.T) {
	noise := newDisk(512)
	r := rand.NewChaCha8([32]byte{3})
	for _, at := range []uint64{0, slotSectors} {
		p := make([]byte, 20*512)
		r.Read(p)
		put(t, noise, at, p)
	}
	half := newDisk(512)
	put(t, half, 0, []byte(strings.Repeat("MBR!", 128)))
	other := two(t)
	small := newDisk(512).Info()
	small.Sectors--
	later := copyOf(other)
	for slot := range uint64(2) { // a later format, with its checksum right
		p := sectors(t, later, slot*slotSectors, 1)
		p[8] = 2
		sum := sha256.Sum256(p[:checksumAt])
		copy(p[checksumAt:], sum[:])
		put(t, later, slot*slotSectors, p)
	}
	for name, c := range map[string]struct {
		Config
		want error
	}{
		"noise":           {config(noise), ErrForeign},
		"another system":  {config(half), ErrForeign},
		"another owner":   {Config{Disk: other, Owner: "else", Key: testKey}, ErrForeign},
		"another key":     {Config{Disk: other, Owner: "test", Key: make([]byte, KeySize)}, ErrKey},
		"no key":          {Config{Disk: other, Owner: "test"}, ErrKey},
		"too small":       {config(devicetest.NewDisk(small)), ErrSmall},
		"a later version": {config(later), ErrDamaged},
	} {
		s, err := Open(c.Config)
		if s != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
	if _, err := Open(Config{Key: []byte("short")}); err == nil {
		t.Error("a short key is taken")
	}
}

// TestNotEmpty: a disk that has zeros where the slots begin and something else
// behind, as most systems leave room for a boot loader, is not taken for a new one.
func TestNotEmpty(t *testing.T) {
	for _, c := range []struct {
		where  string
		sector uint64
	}{
		{"a file system's superblock", 2}, {"a volume's label", 1}, {"64 KiB", 128}, {"end of A", slotSectors - 1},
		{"B", slotSectors + 1}, {"end of B", 2*slotSectors - 1},
	} {
		d := newDisk(512)
		p := make([]byte, 512)
		p[511] = 1
		put(t, d, c.sector, p)
		if s, err := Open(config(d)); s != nil || !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", c.where, err)
		}
	}
	d := newDisk(512)
	d.Spoil(100, true)
	if s, err := Open(config(d)); s != nil || !errors.Is(err, device.ErrIO) {
		t.Errorf("unreadable: %v", err)
	}
}

// TestSpentNumber: a generation whose values are damaged was somebody's: its
// number does not come again.
func TestSpentNumber(t *testing.T) {
	d := two(t)
	flip(t, d, 1, valuesAt*8+100)
	s := open(t, d)
	if gen, err := s.Commit(1, changes(latest)); gen != 3 || err != nil {
		t.Errorf("Commit: %d, %v", gen, err)
	}
}

// TestFormat builds a slot from what the package comment says.
func TestFormat(t *testing.T) {
	d := newDisk(512)
	values := []byte("\x01\x00\x00\x00\x02\x00\x00\x00aA1" + "\x02\x00\x00\x00\x00\x00\x00\x00bb")
	p := []byte("AMPSTORE\x01\x00\x02\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00")
	p = binary.LittleEndian.AppendUint32(p, uint32(len(values)))
	p = append(p, 2, 0, 0, 0)
	owner, sum := sha256.Sum256([]byte("ampoule store owner\x00me")), sha256.Sum256(values)
	p = append(append(append(p, owner[:]...), make([]byte, 32)...), sum[:]...)
	p = append(p, make([]byte, 32)...)
	sum = sha256.Sum256(p)
	put(t, d, 0, append(append(p, sum[:]...), make([]byte, 512-192)...))
	put(t, d, 8, append(values, make([]byte, 512-len(values))...))
	s, err := Open(Config{Disk: d, Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, s, map[string]string{"a": "A1", "bb": ""})
	if st := s.Status(); st.Generation != 7 {
		t.Errorf("%+v", st)
	}
}

// FuzzSlot: no bytes make Open panic, or take more than was stored.
func FuzzSlot(f *testing.F) {
	d := two(f)
	f.Add(sectors(f, d, 0, 1), sectors(f, d, 8, 1), true)
	f.Add([]byte("AMPSTORE"), []byte{}, false)
	f.Fuzz(func(t *testing.T, head, values []byte, sums bool) {
		h, v := make([]byte, 512), make([]byte, 4096)
		copy(h, head)
		copy(v, values)
		if sums {
			n := min(binary.LittleEndian.Uint32(h[24:]), 4096)
			sum := sha256.Sum256(v[:n])
			copy(h[96:], sum[:])
			h[12] = 0
			owner := sha256.Sum256([]byte("ampoule store owner\x00"))
			copy(h[32:], owner[:])
			sum = sha256.Sum256(h[:checksumAt])
			copy(h[checksumAt:], sum[:])
		}
		d := newDisk(512)
		put(t, d, 0, h)
		put(t, d, 8, v)
		if s, err := Open(Config{Disk: d}); err == nil {
			size := 0
			for n, v := range content(s) {
				size += len(n) + len(v)
			}
			if size > 4096 {
				t.Errorf("%d bytes of values", size)
			}
		}
	})
}
