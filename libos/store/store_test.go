package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
)

var testKey = bytes.Repeat([]byte{7}, KeySize)

// newDisk has just enough room.
func newDisk(sector int) *devicetest.Disk {
	return devicetest.NewDisk(device.BlockInfo{Sectors: uint64(DiskSize / sector), SectorSize: sector})
}

func config(d device.Block) Config { return Config{Disk: d, Owner: "test", Key: testKey} }

func open(t testing.TB, d device.Block) *Store {
	t.Helper()
	s, err := Open(config(d))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// content is all that a store holds.
func content(s *Store) map[string]string {
	names, _ := s.Names()
	m := map[string]string{}
	for _, n := range names {
		v, _ := s.Get(n)
		m[n] = string(v)
	}
	return m
}

// changes makes values, the ones with a name that ends in "key" private.
func changes(values map[string]string) (c []Change) {
	for n, v := range values {
		c = append(c, Change{Name: n, Value: []byte(v), Private: strings.HasSuffix(n, "key")})
	}
	return c
}

func commit(t testing.TB, s *Store, values map[string]string) {
	t.Helper()
	_, base := s.Names()
	if _, err := s.Commit(base, changes(values)); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func same(t testing.TB, s *Store, want map[string]string) {
	t.Helper()
	if got := content(s); !maps.Equal(got, want) {
		t.Fatalf("store holds %q, want %q", got, want)
	}
}

func TestKeeps(t *testing.T) {
	for _, sector := range []int{512, 1024, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			d := newDisk(sector)
			s := open(t, d)
			if st := s.Status(); st != (Status{Persisted: true, Sealed: true}) {
				t.Fatalf("a new store: %+v", st)
			}
			want := map[string]string{}
			for gen := uint64(1); gen < 12; gen++ {
				want["a.crt"] = strings.Repeat("certificate ", int(gen*gen))
				want["a.key"] = fmt.Sprint("secret ", gen)
				want[fmt.Sprint("n", gen)] = ""
				commit(t, s, want)
				same(t, s, want)
				s = open(t, d)
				same(t, s, want)
				if st := s.Status(); st != (Status{Persisted: true, Sealed: true, Generation: gen, Values: len(want)}) {
					t.Fatalf("after a restart: %+v", st)
				}
			}
			if _, err := s.Commit(11, []Change{{Name: "a.crt", Forget: true}, {Name: "none", Forget: true}}); err != nil {
				t.Fatal(err)
			}
			delete(want, "a.crt")
			same(t, open(t, d), want)
		})
	}
}

func TestLargest(t *testing.T) {
	d := newDisk(512)
	s := open(t, d)
	big := map[string]string{"big.key": strings.Repeat("x", MaxSize-recordSize-7-overhead)}
	commit(t, s, big)
	commit(t, s, big)
	same(t, open(t, d), big)
	if _, err := s.Commit(2, []Change{{Name: "n"}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than MaxSize: %v", err)
	}
	many := []Change{{Name: "big.key", Forget: true}}
	for i := range MaxValues {
		many = append(many, Change{Name: fmt.Sprint(i)})
	}
	if gen, err := s.Commit(2, many); gen != 3 || err != nil {
		t.Fatalf("MaxValues values: %d, %v", gen, err)
	}
	if _, err := s.Commit(3, []Change{{Name: "more"}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than MaxValues: %v", err)
	}
}

// TestRefusals: what is refused changes nothing, here and on the disk.
func TestRefusals(t *testing.T) {
	d := newDisk(512)
	s := open(t, d)
	want := map[string]string{"a": "1"}
	commit(t, s, want)
	steps := d.Steps()
	for _, c := range []struct {
		name string
		base uint64
		ch   []Change
		want error
	}{
		{"old base", 0, []Change{{Name: "a"}}, ErrConflict},
		{"base from nowhere", 2, []Change{{Name: "a"}}, ErrConflict},
		{"no name", 1, []Change{{Name: ""}}, ErrName},
		{"name twice", 1, []Change{{Name: "x"}, {Name: "x", Forget: true}}, ErrName},
		{"space", 1, []Change{{Name: "x y"}}, ErrName},
		{"not ASCII", 1, []Change{{Name: "ü"}}, ErrName},
		{"long name", 1, []Change{{Name: strings.Repeat("n", MaxName+1)}}, ErrName},
		{"large", 1, []Change{{Name: "x", Value: make([]byte, MaxSize)}}, ErrTooLarge},
	} {
		if gen, err := s.Commit(c.base, c.ch); gen != 1 || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v", c.name, gen, err)
		}
	}
	same(t, s, want)
	if d.Steps() != steps {
		t.Error("a refused commit wrote to the disk")
	}
}

func TestCopies(t *testing.T) {
	s := open(t, newDisk(512))
	v := []byte("value")
	if _, err := s.Commit(0, []Change{{Name: "a", Value: v}}); err != nil {
		t.Fatal(err)
	}
	v[0] = 'X'
	got, _ := s.Get("a")
	got[1] = 'X'
	if again, ok := s.Get("a"); string(again) != "value" || !ok {
		t.Errorf("the store holds %q", again)
	}
	if _, ok := s.Get("b"); ok {
		t.Error("a value from nowhere")
	}
}

func TestNoDisk(t *testing.T) {
	s, err := Open(Config{Owner: "test"})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, map[string]string{"a": "1", "a.key": "2"})
	same(t, s, map[string]string{"a": "1", "a.key": "2"})
	st := s.Status()
	if st.Persisted || st.Generation != 1 || !strings.Contains(st.Notice, "not persisted") {
		t.Errorf("%+v", st)
	}
}

func TestNoKey(t *testing.T) {
	d := newDisk(512)
	c := Config{Disk: d, Owner: "test"}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(0, changes(map[string]string{"a.key": "2"})); !errors.Is(err, ErrNoKey) {
		t.Fatalf("private value without a key: %v", err)
	}
	commit(t, s, map[string]string{"a": "1"})
	if s, err = Open(c); err != nil {
		t.Fatal(err)
	}
	same(t, s, map[string]string{"a": "1"})
	if _, err := Open(config(d)); !errors.Is(err, ErrKey) {
		t.Errorf("with a key that it was not made with: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	info := newDisk(512).Info()
	info.ReadOnly = true
	s := open(t, devicetest.NewDisk(info))
	if _, err := s.Commit(0, []Change{{Name: "a"}}); !errors.Is(err, device.ErrReadOnly) {
		t.Errorf("Commit: %v", err)
	}
}

// TestFailingDisk: an error leaves the generation as it is, and the next commit
// works; if the one that failed was begun, it has a number of its own.
func TestFailingDisk(t *testing.T) {
	for sector, next := range map[uint64]uint64{0: 1, 8: 2} { // of slot A: header, values
		d := newDisk(512)
		s := open(t, d)
		d.Spoil(sector, true)
		if gen, err := s.Commit(0, []Change{{Name: "a"}}); gen != 0 || !errors.Is(err, device.ErrIO) {
			t.Fatalf("Commit: %d, %v", gen, err)
		}
		if st := s.Status(); st.Notice == "" || st.Values != 0 {
			t.Errorf("%+v", st)
		}
		d.Spoil(sector, false)
		if gen, err := s.Commit(0, []Change{{Name: "b"}}); gen != next || err != nil {
			t.Fatalf("Commit: %d, %v", gen, err)
		}
		if st := s.Status(); st.Notice != "" || !st.Persisted {
			t.Errorf("%+v", st)
		}
		same(t, open(t, d), map[string]string{"b": ""})
	}
}

// TestUnsure: the disk fails when all but the last step is done. The next commit
// takes the same slot, so that the one that is known to be good stays.
func TestUnsure(t *testing.T) {
	for _, kept := range []bool{false, true} {
		d := &lastStep{Disk: newDisk(512)}
		s := open(t, d)
		commit(t, s, old)
		d.fail, d.keep = true, kept
		gen, err := s.Commit(1, changes(latest))
		if gen != 1 || !errors.Is(err, ErrUnsure) || !errors.Is(err, device.ErrIO) {
			t.Fatalf("Commit: %d, %v", gen, err)
		}
		if st := s.Status(); st.Persisted || st.Notice == "" {
			t.Errorf("%+v", st)
		}
		same(t, s, old)
		want := map[bool]map[string]string{false: old, true: latest}
		same(t, open(t, copyOf(d.Disk)), want[kept])
		d.fail = false
		if gen, err := s.Commit(1, changes(map[string]string{"c": "3"})); gen != 3 || err != nil {
			t.Fatalf("Commit: %d, %v", gen, err)
		}
		if st := open(t, d).Status(); st.Generation != 3 || st.Notice != "" {
			t.Errorf("%+v", st)
		}
	}
}

// lastStep is a disk that fails the header that makes a slot whole; keep says
// whether the sector is written all the same.
type lastStep struct {
	*devicetest.Disk
	fail, keep bool
}

func (d *lastStep) WriteAt(p []byte, sector uint64) error {
	if !d.fail || string(p[:8]) != string(magic[:]) || p[10] != stateWhole {
		return d.Disk.WriteAt(p, sector)
	}
	if d.keep {
		return errors.Join(d.Disk.WriteAt(p, sector), d.Flush(), device.ErrIO)
	}
	return device.ErrIO
}

// TestChanged: what somebody else has written to the disk is not overwritten,
// nor a generation made that would be taken for older than it.
func TestChanged(t *testing.T) {
	for commits := 1; commits < 4; commits++ {
		d := newDisk(512)
		first := open(t, d)
		commit(t, first, old)
		second := open(t, d) // or a VM that was put back
		for i := range commits {
			commit(t, first, map[string]string{"a": fmt.Sprint(i)})
		}
		steps := d.Steps()
		for range 2 {
			if gen, err := second.Commit(1, changes(latest)); gen != 1 || !errors.Is(err, ErrChanged) {
				t.Fatalf("%d commits later: %d, %v", commits, gen, err)
			}
		}
		if st := second.Status(); st.Persisted || !strings.Contains(st.Notice, "somebody else") {
			t.Errorf("%+v", st)
		}
		if d.Steps() != steps {
			t.Error("it was written to")
		}
		commit(t, first, latest)
		same(t, open(t, d), latest)
	}
}
