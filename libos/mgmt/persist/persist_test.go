package persist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/store"
)

const key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func newDisk() *devicetest.Disk {
	return devicetest.NewDisk(device.BlockInfo{Sectors: 8192, SectorSize: 512})
}

// open opens what is on a disk.
func open(d device.Block) (*keeper, error) {
	h := &plane.Host{Appliance: "test", Hostname: "edge", Command: "x store-key=" + key,
		Disk: func(context.Context) (device.Block, error) { return d, nil }}
	k, err := Disk{}.Open(h)
	if err != nil {
		return nil, err
	}
	return k.(*keeper), nil
}

func values(content string) []certs.Value {
	return []certs.Value{{Name: "certificates/web", Data: []byte(content), Private: true}, {Name: "made", Data: []byte(content)},
		{Name: "previous/certificates/web", Data: []byte("before " + content), Private: true}}
}

// holds says how a keeper is not at a generation with a content.
func holds(k *keeper, number uint64, content string) error {
	got, n := k.Load()
	if n != number {
		return fmt.Errorf("generation %d, want %d", n, number)
	}
	var want []certs.Value
	if number > 0 {
		want = values(content)
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d values: %v", len(got), got)
	}
	for i, v := range want {
		if got[i].Name != v.Name || !bytes.Equal(got[i].Data, v.Data) {
			return fmt.Errorf("%s is %q", got[i].Name, got[i].Data)
		}
	}
	return nil
}

// TestBoth: certificates and the box do not touch each other, and both are there
// after a restart; secrets are not to be read on the disk.
func TestBoth(t *testing.T) {
	d := newDisk()
	k, err := open(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Put("ssh", []byte("the host key's seed")); err != nil {
		t.Fatal(err)
	}
	if err := holds(k, 0, ""); err != nil {
		t.Fatalf("the box counts as a generation: %v", err)
	}
	for i, content := range []string{"content of one", "content of two"} {
		if n, err := k.Keep(uint64(i), values(content)); n != uint64(i+1) || err != nil {
			t.Fatal(n, err)
		}
		if k, err = open(d); err != nil {
			t.Fatal(err)
		}
		if err := holds(k, uint64(i+1), content); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := k.Get("ssh"); !ok || string(got) != "the host key's seed" {
		t.Errorf("%q", got)
	}
	if _, err := k.Keep(1, values("x")); err == nil {
		t.Error("a generation that is gone is replaced")
	}
	big := append(values("content of three"), certs.Value{Name: "x", Data: make([]byte, store.MaxSize)})
	if _, err := k.Keep(2, big); !errors.Is(err, certs.ErrTooMuch) {
		t.Errorf("too much: %v", err)
	}
	if n, err := k.Keep(2, values("content of three")); n != 3 || err != nil {
		t.Error(n, err)
	}
	disk := make([]byte, 8192*512)
	if err := d.ReadAt(disk, 0); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"host key's seed", "before content", key[:32]} {
		if bytes.Contains(disk, []byte(secret)) {
			t.Errorf("%q is on the disk", secret)
		}
	}
}

// TestFormer: a disk from before there was a box is read.
func TestFormer(t *testing.T) {
	d := newDisk()
	k, err := open(d)
	if err != nil {
		t.Fatal(err)
	}
	var changes []store.Change
	for _, v := range values("old") {
		changes = append(changes, store.Change{Name: v.Name, Value: v.Data, Private: v.Private})
	}
	for base := range uint64(7) {
		if _, err := k.store.Commit(base, changes); err != nil {
			t.Fatal(err)
		}
	}
	if k, err = open(d); err != nil {
		t.Fatal(err)
	}
	if err := holds(k, 7, "old"); err != nil {
		t.Fatal(err)
	}
	if err := k.Put("ssh", []byte("seed")); err != nil {
		t.Fatal(err)
	}
	if err := holds(k, 7, "old"); err != nil {
		t.Errorf("after the box was used: %v", err)
	}
}

// TestPowerCut cuts the power at each step of a change: there is the old state or the
// new one, whole, and it can be gone on from.
func TestPowerCut(t *testing.T) {
	for what, change := range map[string]func(*keeper) error{
		"certificates": func(k *keeper) error { _, err := k.Keep(2, values("new")); return err },
		"box":          func(k *keeper) error { return k.Put("ssh", []byte("new")) },
	} {
		start := newDisk()
		k, err := open(start)
		if err == nil {
			err = k.Put("ssh", []byte("old"))
		}
		for base := range uint64(2) {
			if err == nil {
				_, err = k.Keep(base, values("old"))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		for cut, done := 0, false; !done; cut++ {
			d := start.Outcome(func(int) int { return 0 })
			d.CutAt(cut)
			k, err := open(d)
			if err != nil {
				t.Fatal(err)
			}
			done = change(k) == nil
			for after := range d.Outcomes() {
				if tried++; tried > 5000 {
					t.Fatal("too many outcomes")
				}
				if err := whole(after, what, done); err != nil {
					t.Fatalf("%s: cut at step %d: %v", what, cut, err)
				}
			}
		}
		if tried < 10 {
			t.Errorf("%s: only %d contents", what, tried)
		}
	}
}

// whole says how a disk holds neither the old state nor the new one; it must be the
// new one if the change was done.
func whole(d *devicetest.Disk, what string, done bool) error {
	k, err := open(d)
	if err != nil {
		return err
	}
	seed, _ := k.Get("ssh")
	errOld, errNew := holds(k, 2, "old"), holds(k, 3, "new")
	if what == "box" {
		if errOld != nil {
			return errOld
		}
		errOld, errNew = differs(seed, "old"), differs(seed, "new")
	} else if string(seed) != "old" {
		return fmt.Errorf("the box has %q", seed)
	}
	if done && errNew != nil || errOld != nil && errNew != nil {
		return errors.Join(errOld, errNew)
	}
	_, n := k.Load()
	_, err = k.Keep(n, values("next"))
	return err
}

func differs(got []byte, want string) error {
	if string(got) != want {
		return fmt.Errorf("%q, want %q", got, want)
	}
	return nil
}

// TestNone: why nothing is kept.
func TestNone(t *testing.T) {
	none := func(context.Context) (device.Block, error) { return nil, nil }
	for _, c := range []struct {
		command string
		disk    func(context.Context) (device.Block, error)
		want    string
	}{
		{"", none, "no key for the disk"},
		{"store-key=12", none, "64 hexadecimal digits"},
		{"store-key=" + strings.Repeat("x", 64), none, "64 hexadecimal digits"},
		{"store-key=" + key, none, "there is no disk"},
		{"store-key=" + key, func(context.Context) (device.Block, error) { return nil, device.ErrGone }, device.ErrGone.Error()},
	} {
		_, err := Disk{}.Open(&plane.Host{Command: c.command, Disk: c.disk})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), key) {
			t.Errorf("%q: %v, want %q", c.command, err, c.want)
		}
	}
}
