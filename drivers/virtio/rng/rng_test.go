package virtiorng

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"ampoule/drivers/virtio"
	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
)

var _ io.Reader = (*Device)(nil)

// open makes a device whose answers fill decides: it writes to the buffer and
// says how many bytes it claims to have written.
func open(t *testing.T, fill func(p []byte) int) (*Device, *virtiotest.Queue, *virtiotest.Machine) {
	t.Helper()
	m := virtiotest.NewMachine(t, 4)
	boot, qs := m.Add(virtio.EntropySource, Features, nil, 8)
	q := qs[0]
	q.Kick = func() {
		for q.Pending() > 0 {
			head, _ := q.Next()
			q.Complete(head, fill(q.Buffer(head)))
		}
		q.Rearm()
	}
	q.Rearm()
	d, err := New("rng0", virtio.NewDevice(boot, m), m.Pool, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return d, q, m
}

// stream fills buffers from a reproducible stream, at most n bytes at a time.
func stream(seed byte, n int) func([]byte) int {
	r := rand.NewChaCha8([32]byte{seed})
	return func(p []byte) int {
		k, _ := r.Read(p[:min(n, len(p))])
		return k
	}
}

func TestReadGivesTheDevicesBytes(t *testing.T) {
	for _, turn := range []int{1, 5, 16, 31, 32} {
		want := make([]byte, 320)
		stream(1, 320)(want)
		d, q, m := open(t, stream(1, 320))
		if turn < 32 {
			all := bytes.NewReader(want)
			d, q, m = open(t, func(p []byte) int {
				n, _ := io.ReadFull(all, p[:min(turn, len(p), all.Len())])
				return n
			})
		}
		got := make([]byte, 10)
		if n, err := d.Read(got); n != 10 || err != nil {
			t.Fatalf("turns of %d: Read = %d, %v", turn, n, err)
		}
		if !bytes.Equal(got, want[:10]) {
			t.Errorf("turns of %d: not the device's bytes", turn)
		}
		if q.Posts != 1 || q.Descs != 1 {
			t.Errorf("turns of %d: %d posts", turn, q.Posts)
		}
		if bytes.ContainsFunc(m.IO, func(r rune) bool { return r != 0 }) {
			t.Errorf("turns of %d: entropy left in the page", turn)
		}
	}
}

func TestReadManyBlocks(t *testing.T) {
	d, _, _ := open(t, stream(2, 32))
	want := make([]byte, 100000)
	fill := stream(2, 32)
	for i := 0; i < len(want); i += 32 {
		fill(want[i:min(i+32, len(want))])
	}
	got := make([]byte, len(want))
	if n, err := d.Read(got); n != len(got) || err != nil {
		t.Fatalf("Read = %d, %v", n, err)
	}
	if !bytes.Equal(got, want) {
		t.Error("not the device's bytes")
	}
	if n, err := d.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing = %d, %v", n, err)
	}
}

func TestReadRefusesWhatRepeats(t *testing.T) {
	block := make([]byte, 32)
	stream(3, 32)(block)
	for name, fill := range map[string]func([]byte) int{
		"all zero":           func(p []byte) int { clear(p); return len(p) },
		"never written":      func(p []byte) int { return len(p) },
		"all ones":           func(p []byte) int { copy(p, bytes.Repeat([]byte{0xff}, 32)); return len(p) },
		"one byte for ever":  func(p []byte) int { p[0] = 7; return 1 },
		"the same block":     func(p []byte) int { return copy(p, block) },
		"half a block twice": func(p []byte) int { return copy(p, block[:16]) },
	} {
		d, _, _ := open(t, fill)
		got := bytes.Repeat([]byte{0xee}, BlockSize) // one block shows it
		if name == "the same block" {
			got = bytes.Repeat([]byte{0xee}, 2*BlockSize)
		}
		for range 2 {
			if n, err := d.Read(got); n != 0 || !errors.Is(err, ErrBroken) {
				t.Errorf("%s: Read = %d, %v, want ErrBroken", name, n, err)
			}
		}
		if !bytes.Equal(got, make([]byte, len(got))) {
			t.Errorf("%s: bytes of a failed Read stay in the buffer", name)
		}
	}
}

func TestReadHostileDevice(t *testing.T) {
	for name, attack := range map[string]func(q *virtiotest.Queue){
		"no bytes":      func(q *virtiotest.Queue) { q.PutUsed(0, 0, 0); q.SetUsed(1) },
		"too many":      func(q *virtiotest.Queue) { q.PutUsed(0, 0, 33); q.SetUsed(1) },
		"far too many":  func(q *virtiotest.Queue) { q.PutUsed(0, 0, 1<<32-1); q.SetUsed(1) },
		"bad id":        func(q *virtiotest.Queue) { q.PutUsed(0, 8, 32); q.SetUsed(1) },
		"not in flight": func(q *virtiotest.Queue) { q.PutUsed(0, 1, 32); q.SetUsed(1) },
		"index jumped":  func(q *virtiotest.Queue) { q.SetUsed(2) },
	} {
		d, q, _ := open(t, nil)
		q.Kick = func() { attack(q) }
		for range 2 {
			if n, err := d.Read(make([]byte, 8)); n != 0 || !errors.Is(err, device.ErrGone) {
				t.Errorf("%s: Read = %d, %v, want ErrGone", name, n, err)
			}
		}
	}
}

func TestReadTimesOutAndGoesOn(t *testing.T) {
	d, q, _ := open(t, stream(4, 32))
	work := q.Kick
	q.Kick = nil
	start := time.Now()
	if n, err := d.Read(make([]byte, 8)); n != 0 || !errors.Is(err, ErrTimeout) {
		t.Fatalf("Read = %d, %v, want ErrTimeout", n, err)
	}
	if took := time.Since(start); took < 20*time.Millisecond {
		t.Errorf("timed out after %v", took)
	}
	if n, err := d.Read(make([]byte, 8)); n != 0 || !errors.Is(err, ErrTimeout) {
		t.Fatalf("second Read = %d, %v, want ErrTimeout", n, err)
	}
	if q.Pending() != 1 {
		t.Errorf("%d requests are with the device", q.Pending())
	}
	work()
	if n, err := d.Read(make([]byte, 8)); n != 8 || err != nil {
		t.Fatalf("Read after the answer came late = %d, %v", n, err)
	}
}

func TestReadWaits(t *testing.T) {
	d, q, _ := open(t, stream(5, 32))
	work := q.Kick
	q.Kick = func() { time.AfterFunc(3*time.Millisecond, work) }
	if n, err := d.Read(make([]byte, 32)); n != 32 || err != nil {
		t.Fatalf("Read = %d, %v", n, err)
	}
}

func TestClose(t *testing.T) {
	d, _, _ := open(t, stream(6, 32))
	if d.Name() != "rng0" {
		t.Errorf("Name() = %q", d.Name())
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, device.ErrGone) {
		t.Errorf("Read of a closed device: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	m := virtiotest.NewMachine(t, 1)
	net, _ := m.Add(virtio.NetworkCard, Features, nil, 8)
	legacy, _ := m.Add(virtio.EntropySource, 0, nil, 8)
	none, _ := m.Add(virtio.EntropySource, Features, nil)
	good, _ := m.Add(virtio.EntropySource, Features, nil, 8)
	if _, err := New("rng0", virtio.NewDevice(net, m), m.Pool, time.Second); err == nil {
		t.Error("New takes a network card")
	}
	if _, err := New("rng0", virtio.NewDevice(legacy, m), m.Pool, time.Second); err == nil {
		t.Error("New takes a legacy device")
	}
	if _, err := New("rng0", virtio.NewDevice(none, m), m.Pool, time.Second); err == nil {
		t.Error("New takes a device without a queue")
	}
	if _, err := m.Pool.Get(); err != nil {
		t.Fatal(err)
	}
	if _, err := New("rng0", virtio.NewDevice(good, m), m.Pool, time.Second); err == nil {
		t.Error("New starts without a page")
	}
}
