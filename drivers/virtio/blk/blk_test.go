package virtioblk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/virtio"
	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
)

// rig is a disk and its device.
type rig struct {
	*Disk
	dev *virtiotest.Blk
	m   *virtiotest.Machine
}

// configuration is struct virtio_blk_config as far as it is read.
func configuration(bytes, block int) []byte {
	p := make([]byte, 60)
	binary.LittleEndian.PutUint64(p, uint64(bytes/unit))
	binary.LittleEndian.PutUint32(p[20:], uint32(block))
	return p
}

func start(t testing.TB, features uint64, block, queue int) *rig {
	t.Helper()
	m := virtiotest.NewMachine(t, 24)
	boot, q := m.Add(virtio.BlockDevice, features, configuration(600*4096, block), queue)
	r := &rig{m: m, dev: virtiotest.NewBlk(q[0], make([]byte, 600*4096))}
	var err error
	r.Disk, err = New("disk0", virtio.NewDevice(boot, m), m.Pool, Config{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConformance(t *testing.T) {
	for _, features := range []uint64{Features &^ featureReadOnly, virtio.FeatureVersion1 | featureFlush | featureBlockSize} {
		for _, block := range []int{512, 4096} {
			for _, queue := range []int{4, 16, 256} {
				t.Run(fmt.Sprintf("%#x block %d queue %d", features, block, queue), func(t *testing.T) {
					devicetest.Block(t, func(t *testing.T) devicetest.BlockUnderTest {
						r := start(t, features, block, queue)
						return devicetest.BlockUnderTest{Dev: r.Disk, Pool: r.m.Pool, Peer: r.dev}
					})
				})
			}
		}
	}
}

func TestReadOnly(t *testing.T) {
	r := start(t, Features, 512, 16)
	if err := r.WriteAt(make([]byte, 512), 0); !errors.Is(err, device.ErrReadOnly) {
		t.Errorf("WriteAt: %v", err)
	}
	if err := r.ReadAt(make([]byte, 512), 0); err != nil || !r.Info().ReadOnly {
		t.Errorf("ReadAt: %v, %+v", err, r.Info())
	}
}

// TestNoCache: a device that can not be flushed is not asked to.
func TestNoCache(t *testing.T) {
	r := start(t, virtio.FeatureVersion1, 512, 16)
	if err := r.Flush(); err != nil || r.dev.Flushes() != 0 {
		t.Errorf("Flush: %v, %d at the device", err, r.dev.Flushes())
	}
}

// TestInFlight: a transfer of any size has Depth requests at the device at most,
// in one post each turn.
func TestInFlight(t *testing.T) {
	r := start(t, Features&^featureReadOnly, 512, 256)
	if err := r.WriteAt(make([]byte, 3*Depth*4096), 0); err != nil {
		t.Fatal(err)
	}
	if q := r.dev.Q; q.Posts != 3 || q.Descs != 3*Depth*chain || q.Kicks != 3 {
		t.Errorf("%d posts, %d descriptors, %d kicks", q.Posts, q.Descs, q.Kicks)
	}
	if now, _ := r.m.Pool.Free(); now != 24-Depth-1 {
		t.Errorf("%d pages free", now)
	}
}

func TestRefusedDevices(t *testing.T) {
	for name, c := range map[string]struct {
		kind     uint32
		features uint64
		config   []byte
		size     int
		pages    int
	}{
		"kind":          {virtio.NetworkCard, Features, configuration(4096, 512), 16, 16},
		"legacy":        {virtio.BlockDevice, 0, configuration(4096, 512), 16, 16},
		"no capacity":   {virtio.BlockDevice, Features, nil, 16, 16},
		"no block size": {virtio.BlockDevice, Features, configuration(4096, 512)[:20], 16, 16},
		"block 0":       {virtio.BlockDevice, Features, configuration(4096, 0), 16, 16},
		"block 256":     {virtio.BlockDevice, Features, configuration(4096, 256), 16, 16},
		"block 1000":    {virtio.BlockDevice, Features, configuration(4096, 1000), 16, 16},
		"block 8192":    {virtio.BlockDevice, Features, configuration(4096, 8192), 16, 16},
		"small queue":   {virtio.BlockDevice, Features, configuration(4096, 512), 2, 16},
		"few pages":     {virtio.BlockDevice, Features, configuration(4096, 512), 256, 5},
	} {
		m := virtiotest.NewMachine(t, c.pages)
		boot, _ := m.Add(c.kind, c.features, c.config, c.size)
		if _, err := New("disk0", virtio.NewDevice(boot, m), m.Pool, Config{}); err == nil {
			t.Errorf("%s: taken", name)
		}
		if now, _ := m.Pool.Free(); now != c.pages {
			t.Errorf("%s: %d of %d pages free", name, now, c.pages)
		}
	}
}

// TestHostile: each lie of the device ends it with the reason named, and no call
// panics, hangs or gives out what the device has not written.
func TestHostile(t *testing.T) {
	put := func(q *virtiotest.Queue, id, n uint32) {
		q.PutUsed(q.UsedIndex(), id, n)
		q.SetUsed(q.UsedIndex() + 1)
	}
	type lie = func(r *rig, head uint16, n int)
	status := func(v byte) lie {
		return func(r *rig, head uint16, n int) {
			r.dev.Q.Buffers(head, func(p []byte, write bool) bool {
				if len(p) == 1 {
					p[0] = v
				}
				return true
			})
			r.dev.Q.Complete(head, n)
		}
	}
	lies := map[string]struct {
		do     lie
		reason string
	}{
		"id of no chain":      {func(r *rig, h uint16, n int) { put(r.dev.Q, 200, 1) }, "not in flight"},
		"id beyond the queue": {func(r *rig, h uint16, n int) { put(r.dev.Q, 1<<31|uint32(h), 1) }, "not in flight"},
		"id inside a chain":   {func(r *rig, h uint16, n int) { put(r.dev.Q, uint32(h)+1, 1) }, "not in flight"},
		"replay": {func(r *rig, h uint16, n int) {
			put(r.dev.Q, 0, uint32(n))
		}, "not in flight"},
		"long":        {func(r *rig, h uint16, n int) { put(r.dev.Q, uint32(h), 4098) }, "used length"},
		"very long":   {func(r *rig, h uint16, n int) { put(r.dev.Q, uint32(h), 1<<32-1) }, "used length"},
		"index jump":  {func(r *rig, h uint16, n int) { r.dev.Q.SetUsed(r.dev.Q.UsedIndex() + 30) }, "jumped"},
		"index back":  {func(r *rig, h uint16, n int) { r.dev.Q.SetUsed(r.dev.Q.UsedIndex() - 1) }, "jumped"},
		"no status":   {status(statusNone), "status 0xff"},
		"status 3":    {status(3), "status 0x3"},
		"status 0x80": {status(0x80), "status 0x80"},
		"silence":     {func(*rig, uint16, int) {}, "no answer"},
	}
	for name, c := range lies {
		for kind, call := range map[string]func(*rig) error{
			"read":  func(r *rig) error { return r.ReadAt(make([]byte, 2*4096), 0) },
			"write": func(r *rig) error { return r.WriteAt(make([]byte, 2*4096), 0) },
		} {
			r := start(t, Features&^featureReadOnly, 512, 256)
			r.timeout = 30 * time.Millisecond
			r.dev.Answer = func(h uint16, _ byte, n int) { c.do(r, h, n) }
			err := call(r)
			if !errors.Is(err, device.ErrGone) || !strings.Contains(fmt.Sprint(r.Cause()), c.reason) {
				t.Errorf("%s: %s: %v, want mention of %q", name, kind, err, c.reason)
			}
			r.dev.Answer = nil
			if err := r.Flush(); !errors.Is(err, device.ErrGone) {
				t.Errorf("%s: afterwards: %v", name, err)
			}
		}
	}
}

// TestShortRead: a read that says it went well and wrote less is a breach.
func TestShortRead(t *testing.T) {
	for _, n := range []int{0, 1, 512, 4096} {
		r := start(t, Features, 512, 16)
		r.dev.Answer = func(h uint16, _ byte, _ int) { r.dev.Q.Complete(h, n) }
		if err := r.ReadAt(make([]byte, 4096), 0); !errors.Is(err, device.ErrGone) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestNothingRead: a device that says it has read and has not gives zeros, not
// what was in the page before.
func TestNothingRead(t *testing.T) {
	r := start(t, Features&^featureReadOnly, 512, 16)
	if err := r.WriteAt(bytes.Repeat([]byte("secret!!"), 512), 0); err != nil {
		t.Fatal(err)
	}
	r.dev.Lazy = true
	p := bytes.Repeat([]byte{1}, 4096)
	if err := r.ReadAt(p, 8); err != nil || bytes.Count(p, []byte{0}) != len(p) {
		t.Errorf("ReadAt: %v, or what was written elsewhere", err)
	}
}

// TestStatusOfOthers: while the device has requests it may write the statuses and
// headers of all of them; that is errors, and no more.
func TestStatusOfOthers(t *testing.T) {
	r := start(t, Features&^featureReadOnly, 512, 256)
	turn := byte(0)
	r.dev.Answer = func(h uint16, _ byte, n int) {
		turn++
		clear(r.ctl.Page()[:ctlSize*Depth])
		for i := range Depth {
			r.ctl.Page()[ctlSize*i+statusAt] = turn % 3
		}
		r.dev.Q.Complete(h, n)
	}
	failed := 0
	for range 30 {
		err := r.ReadAt(make([]byte, 5*4096), 0)
		if err != nil && !errors.Is(err, device.ErrIO) {
			t.Fatal(err)
		}
		if err != nil {
			failed++
		}
	}
	if failed != 20 {
		t.Errorf("%d of 30 reads failed, want those two whose last status was an error of three", failed)
	}
}
