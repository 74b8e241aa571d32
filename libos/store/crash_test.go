package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
	"ampoule/libos/iopage"
)

// dying is a disk with room for a crash record, whose program can be made to die.
type dying struct {
	*devicetest.Disk
	die func(text string)
}

func (d *dying) KeepLast(sector uint64, head int, seal func(page []byte, n int)) ([]byte, error) {
	page := make([]byte, iopage.Size)
	d.die = func(text string) {
		n := copy(page[head:], text)
		seal(page, n)
		if err := d.WriteAt(page, sector); err != nil {
			panic(err)
		}
	}
	return page, nil
}

func newDying(sector, more int) *dying {
	return &dying{Disk: devicetest.NewDisk(device.BlockInfo{Sectors: uint64((DiskSize + more) / sector), SectorSize: sector})}
}

// TestCrash: what a run said as it died is read by the next ones, until another dies;
// generations do not care.
func TestCrash(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		d := newDying(sector, iopage.Size)
		for i, text := range []string{"panic: one", strings.Repeat("x", crashText), ""} {
			s := open(t, d)
			last, err := s.KeepCrash("build " + text[:min(len(text), 8)])
			if err != nil || (last != nil) != (i > 0) {
				t.Fatalf("%+v, %v", last, err)
			}
			commit(t, s, map[string]string{"a": text})
			before := time.Now()
			d.die(text)
			last, err = open(t, d).KeepCrash("later")
			if err != nil || last == nil || string(last.Text) != text || !strings.HasPrefix(last.Build, "build ") || last.Time.Before(before.Add(-time.Second)) {
				t.Fatalf("%+v, %v", last, err)
			}
			same(t, open(t, d), map[string]string{"a": text})
		}
	}
}

// TestCrashSeal: a record is completed without an allocation; a long build is cut.
func TestCrashSeal(t *testing.T) {
	page := make([]byte, iopage.Size)
	if n := testing.AllocsPerRun(100, func() { sealCrash(page, crashText) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	d := newDying(512, iopage.Size)
	if _, err := open(t, d).KeepCrash(strings.Repeat("b", 200)); err != nil {
		t.Fatal(err)
	}
	d.die("text")
	if last, _ := open(t, d).KeepCrash(""); last == nil || last.Build != strings.Repeat("b", 64) || string(last.Text) != "text" {
		t.Errorf("%+v", last)
	}
}

// TestNoCrash: what is no record is none, and where something else is nothing is
// written.
func TestNoCrash(t *testing.T) {
	record := func() []byte {
		d := newDying(512, iopage.Size)
		if _, err := open(t, d).KeepCrash("b"); err != nil {
			t.Fatal(err)
		}
		d.die("some text")
		p := make([]byte, iopage.Size)
		if err := d.ReadAt(p, DiskSize/512); err != nil {
			t.Fatal(err)
		}
		return p
	}()
	read := func(p []byte) (*Crash, error, bool) {
		d := newDying(512, iopage.Size)
		if err := d.WriteAt(p, DiskSize/512); err != nil {
			t.Fatal(err)
		}
		last, err := open(t, d).KeepCrash("b")
		return last, err, d.die != nil
	}
	if last, err, armed := read(record); last == nil || err != nil || !armed {
		t.Fatal(last, err, armed)
	}
	for at := range crashTextAt + 9 {
		p := bytes.Clone(record)
		p[at] ^= 0x10
		last, err, armed := read(p)
		if foreign := at < 8; last != nil || foreign != errors.Is(err, ErrForeign) || armed == foreign {
			t.Errorf("byte %d changed: %+v, %v, armed %t", at, last, err, armed)
		}
	}
	for _, length := range []byte{0, 0xff} { // and one that is beyond the page
		p := bytes.Clone(record)
		p[12], p[13], p[14], p[15] = length, length, length, length
		if last, _, _ := read(p); last != nil {
			t.Errorf("length %#x: %+v", length, last)
		}
	}
	if _, err := open(t, newDying(512, 0)).KeepCrash("b"); err == nil {
		t.Error("a disk without room")
	}
	if _, err := open(t, newDisk(512)).KeepCrash("b"); err == nil {
		t.Error("a driver that can't")
	}
	s, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.KeepCrash("b"); err == nil {
		t.Error("no disk")
	}
}

func FuzzCrash(f *testing.F) {
	f.Add([]byte("AMPCRASH"))
	f.Fuzz(func(t *testing.T, p []byte) {
		page := make([]byte, iopage.Size)
		copy(page, p)
		var owner [32]byte
		if c, err := readCrash(page, &owner); err == nil && len(c.Text) > crashText {
			t.Error(len(c.Text))
		}
	})
}
