package virtio_test

import (
	"errors"
	"testing"

	"ampoule/drivers/virtio"
	"ampoule/drivers/virtio/virtiotest"
	"ampoule/libos/rt/rtabi"
)

const base = virtio.FeatureVersion1

func open(tb testing.TB, features uint64, size int) (*virtio.Queue, *virtiotest.Queue, *virtiotest.Machine) {
	tb.Helper()
	m := virtiotest.NewMachine(tb, 4)
	boot, q := m.Add(virtio.NetworkCard, features, nil, size)
	d, err := virtio.NewQueue(virtio.NewDevice(boot, m), 0)
	if err != nil {
		tb.Fatal(err)
	}
	return d, q[0], m
}

// stage points descriptors 0 to n-1 at the region.
func stage(d *virtio.Queue, n int) {
	for id := range n {
		d.Stage(uint8(id), 0, 0, uint32(id), 1)
	}
}

// TestWrapAround goes through every size three times around the 16-bit indexes,
// with completions out of order.
func TestWrapAround(t *testing.T) {
	for _, size := range []int{1, 2, 8, 256} {
		for _, f := range []uint64{base, base | virtio.FeatureEventIndex} {
			d, q, _ := open(t, f, size)
			stage(d, size)
			for total := 0; total < 3<<16; total += size {
				for id := range size {
					d.Push(uint8(id))
				}
				d.Flush()
				if q.Pending() != size || d.InFlight() != size {
					t.Fatalf("size %d: %d available, %d in flight", size, q.Pending(), d.InFlight())
				}
				for i := range size {
					if id, ok := q.Next(); !ok || int(id) != i {
						t.Fatalf("size %d: entry %d is %d, %v", size, i, id, ok)
					}
				}
				for i := range size {
					q.Complete(uint16(size-1-i), total+i)
				}
				if n := d.Sync(); n != size {
					t.Fatalf("size %d: Sync() = %d: %v", size, n, d.Err())
				}
				for i := range size {
					id, n, ok := d.Next()
					if !ok || int(id) != size-1-i || int(n) != total+i {
						t.Fatalf("size %d: Next() = %d, %d, %v", size, id, n, ok)
					}
				}
				if d.Taken() != q.UsedIndex() || *d.Ring().UsedIndex() != q.UsedIndex() {
					t.Fatalf("size %d: taken %d of %d", size, d.Taken(), q.UsedIndex())
				}
			}
		}
	}
}

// TestEventIndex: a kick is due exactly when the device's event index is among
// the entries just shown, wrap-around included.
func TestEventIndex(t *testing.T) {
	for _, start := range []uint16{0, 1, 100, 1<<16 - 3, 1<<16 - 1} {
		for event := -4; event < 12; event++ {
			d, q, _ := open(t, base|virtio.FeatureEventIndex, 16)
			stage(d, 16)
			for range start {
				d.Push(0)
				d.Flush()
				q.Next()
				q.Complete(0, 0)
				d.Sync()
				d.Next()
			}
			kicks := q.Kicks
			q.SetAvailEvent(start + uint16(event))
			for id := range 8 {
				d.Push(uint8(id))
			}
			d.Flush()
			want := 0
			if event >= 0 && event < 8 {
				want = 1
			}
			if got := q.Kicks - kicks; got != want {
				t.Errorf("entries %d+8, event %d: %d kicks, want %d", start, event, got, want)
			}
		}
	}
}

func TestNoNotifyFlag(t *testing.T) {
	d, q, _ := open(t, base, 8)
	stage(d, 8)
	for i, quiet := range []bool{false, true, true, false, false} {
		q.SetNoNotify(quiet)
		kicks := q.Kicks
		d.Push(uint8(i))
		d.Flush()
		if got := q.Kicks != kicks; got == quiet {
			t.Errorf("entry %d: kicked %v with the flag %v", i, got, quiet)
		}
	}
	if posts, kicks := d.Counters(); posts != 1 || kicks != 3 {
		t.Errorf("Counters() = %d, %d", posts, kicks)
	}
}

func TestFlushOfNothingIsNothing(t *testing.T) {
	d, q, _ := open(t, base, 8)
	for range 3 {
		d.Flush()
	}
	if q.Kicks != 0 || q.Posts != 0 {
		t.Errorf("%d kicks, %d posts", q.Kicks, q.Posts)
	}
}

// TestPostIsSplit: more than the submission area holds goes in several posts,
// all before the device sees an entry.
func TestPostIsSplit(t *testing.T) {
	d, q, _ := open(t, base, 256)
	stage(d, 100)
	for id := range 100 {
		d.Push(uint8(id))
	}
	if q.Pending() != 0 {
		t.Error("entries are visible before Flush")
	}
	d.Flush()
	if q.Posts != 3 || q.Descs != 100 || q.Kicks != 1 {
		t.Errorf("%d posts, %d descriptors, %d kicks", q.Posts, q.Descs, q.Kicks)
	}
}

func TestPushTwicePanics(t *testing.T) {
	for _, ids := range [][]uint8{{3, 3}, {8}} {
		func() {
			d, _, _ := open(t, base, 8)
			stage(d, 8)
			defer func() {
				if recover() == nil {
					t.Errorf("Push of %v does not panic", ids)
				}
			}()
			for _, id := range ids {
				d.Push(id)
			}
		}()
	}
}

// TestGateRefuses checks the fake gate, since the drivers' tests trust it to
// refuse what the real one refuses.
func TestGateRefuses(t *testing.T) {
	const end = 4 * rtabi.PageSize
	for name, desc := range map[string]rtabi.Desc{
		"id":           {ID: 8, Len: 1},
		"next":         {Next: 8, Flags: rtabi.DescNext, Len: 1},
		"flags":        {Flags: 4, Len: 1},
		"offset":       {Offset: end, Len: 1},
		"length":       {Offset: end - 1, Len: 2},
		"wrap-around":  {Offset: 1<<32 - 1, Len: 1<<32 - 1},
		"nothing":      {Len: 0},
		"a page and 1": {Len: rtabi.PageSize + 1},
		"constants":    {Offset: rtabi.ConstOffset, Len: 1},
	} {
		func() {
			d, _, _ := open(t, base, 8)
			d.Stage(uint8(desc.ID), uint8(desc.Next), desc.Flags, desc.Offset, desc.Len)
			defer func() {
				if _, ok := recover().(virtiotest.Violation); !ok {
					t.Errorf("%s: %+v passes the gate", name, desc)
				}
			}()
			d.Flush()
		}()
	}
	d, q, _ := open(t, base, 8)
	d.Stage(7, 0, 0, end-rtabi.PageSize, rtabi.PageSize)
	d.Stage(6, 0, 0, end-1, 1)
	d.Flush()
	if q.Descs != 2 {
		t.Errorf("%d of two good descriptors pass", q.Descs)
	}
}

func TestNewQueueRefuses(t *testing.T) {
	m := virtiotest.NewMachine(t, 1)
	boot, _ := m.Add(virtio.NetworkCard, base, nil, 8)
	for name, change := range map[string]func(*rtabi.Device){
		"legacy":          func(d *rtabi.Device) { d.Features = 0 },
		"no queue":        func(d *rtabi.Device) { d.NQueues = 0 },
		"size 0":          func(d *rtabi.Device) { d.Queues[0].Size = 0 },
		"size 3":          func(d *rtabi.Device) { d.Queues[0].Size = 3 },
		"size 512":        func(d *rtabi.Device) { d.Queues[0].Size = 512 },
		"no page":         func(d *rtabi.Device) { d.Queues[0].Ring = 0 },
		"page misaligned": func(d *rtabi.Device) { d.Queues[0].Ring += 8 },
	} {
		bad := *boot
		change(&bad)
		if _, err := virtio.NewQueue(virtio.NewDevice(&bad, m), 0); err == nil {
			t.Errorf("%s: NewQueue accepts it", name)
		}
	}
	for _, i := range []int{-1, 1, rtabi.MaxQueues, 1 << 40} {
		if _, _, err := virtio.NewDevice(boot, m).Queue(i); err == nil {
			t.Errorf("there is a queue %d", i)
		}
	}
	many := *boot
	many.NQueues = 1 << 31
	if _, _, err := virtio.NewDevice(&many, m).Queue(rtabi.MaxQueues); err == nil {
		t.Error("NQueues is believed")
	}
}

func TestConfig(t *testing.T) {
	m := virtiotest.NewMachine(t, 1)
	boot, _ := m.Add(virtio.NetworkCard, base, []byte{1, 2, 3, 4}, 8)
	d := virtio.NewDevice(boot, m)
	var p [2]byte
	if err := d.Config(2, p[:]); err != nil || p != [2]byte{3, 4} {
		t.Errorf("Config(2) = %v, %v", p, err)
	}
	for _, off := range []int{-1, 3, 4, 5, 1 << 40} {
		if err := d.Config(off, p[:]); !errors.Is(err, virtio.ErrRange) {
			t.Errorf("Config(%d): %v", off, err)
		}
	}
	long := *boot
	long.ConfigLen = 1 << 31
	if err := virtio.NewDevice(&long, m).Config(rtabi.MaxConfig-1, p[:]); !errors.Is(err, virtio.ErrRange) {
		t.Errorf("ConfigLen is believed: %v", err)
	}
}

func TestChains(t *testing.T) {
	for _, size := range []int{1, 8, 256} {
		var c virtio.Chains
		c.Init(size)
		for round := range 200 {
			var heads []uint8
			seen := map[uint8]bool{}
			use := func(id uint8) uint8 {
				if seen[id] || int(id) >= size {
					t.Fatalf("size %d: id %d given twice, or too large", size, id)
				}
				seen[id] = true
				return id
			}
			for n := round % 5; c.Free() > 0; {
				head := use(c.Take())
				heads = append(heads, head)
				for tail := head; n > 0 && c.Free() > 0; n-- {
					tail = use(c.Extend(head, tail))
				}
				n = round % 7
			}
			if len(seen) != size {
				t.Fatalf("size %d: %d ids given", size, len(seen))
			}
			for i := range heads {
				c.Put(heads[(i+round)%len(heads)])
			}
			if c.Free() != size {
				t.Fatalf("size %d: %d ids came back", size, c.Free())
			}
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	d, q, _ := open(t, base|virtio.FeatureEventIndex, 64)
	if n := testing.AllocsPerRun(100, func() {
		stage(d, 32)
		for id := range 32 {
			d.Push(uint8(id))
		}
		d.Flush()
		for range 32 {
			id, _ := q.Next()
			q.Complete(id, 0)
		}
		for range d.Sync() {
			d.Next()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
