package xenstore

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xentest"
)

// TestStoreBreaksProtocol: each breach ends the connection with an error, at
// once, and a restore brings it back.
func TestStoreBreaksProtocol(t *testing.T) {
	msg := xentest.Message
	long := msg(abi.StoreRead, 0, "")
	binary.LittleEndian.PutUint32(long[12:], abi.StorePayloadMax+1)
	huge := slices.Clone(long)
	binary.LittleEndian.PutUint32(huge[12:], 0xffffffff)
	for name, c := range map[string]struct {
		raw    func(id uint32) []byte
		events bool // the breach is there before any request
	}{
		"oversize payload":     {raw: func(uint32) []byte { return long }},
		"length of all ones":   {raw: func(uint32) []byte { return huge }},
		"unknown id":           {raw: func(id uint32) []byte { return msg(abi.StoreRead, id+1, "x") }},
		"id of the past":       {raw: func(id uint32) []byte { return msg(abi.StoreRead, id-1, "x") }},
		"other type":           {raw: func(id uint32) []byte { return msg(abi.StoreWrite, id, "x") }},
		"impossible type":      {raw: func(id uint32) []byte { return msg(0xffff, id, "x") }},
		"zeros":                {raw: func(uint32) []byte { return make([]byte, 64) }},
		"garbage":              {raw: func(uint32) []byte { return []byte(strings.Repeat("\xa5\x5a\x12", 40)) }},
		"nothing was asked":    {raw: func(uint32) []byte { return msg(abi.StoreRead, 77, "x") }, events: true},
		"replayed reply twice": {raw: func(id uint32) []byte { return slices.Repeat(msg(abi.StoreRead, id, "x"), 2) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			if c.events {
				r.s.Raw(c.raw(0))
			} else {
				r.s.Answer(func(_, id uint32, _ []byte) ([]byte, bool) { return c.raw(id), true })
				r.c.Read(r.ctx, "name")
			}
			for range 3 {
				if _, err := r.c.Read(r.ctx, "name"); !errors.Is(err, ErrBroken) {
					t.Fatalf("read: %v", err)
				}
			}
			if r.ctx.Err() != nil {
				t.Fatal("a call waited for its time-out")
			}
			r.s.Answer(nil)
			r.revive()
		})
	}
}

// revive restores the VM, after which the store must work.
func (r *rig) revive() {
	r.Helper()
	if err := r.c.Suspend(r.ctx); err != nil {
		r.Fatal(err)
	}
	r.d.Restore()
	if err := r.c.Resume(r.ctx, true); err != nil {
		r.Fatal(err)
	}
	r.reads("name", "ampoule")
}

// TestProducerJump: indexes that run ahead, or back.
func TestProducerJump(t *testing.T) {
	r := open(t)
	r.reads("name", "ampoule")
	p := r.s.Page()
	prod := binary.LittleEndian.Uint32(p[abi.StoreRspProd:])
	for _, v := range []uint32{prod + abi.StoreRing + 1, prod - 1, prod + 1<<31, 0x5a5a5a5a} {
		r.s.SetRspProd(v)
		if _, err := r.c.Read(r.ctx, "name"); !errors.Is(err, ErrBroken) {
			t.Errorf("response index %#x: %v", v, err)
		}
		r.revive()
	}
	req := binary.LittleEndian.Uint32(p[abi.StoreReqProd:])
	for _, v := range []uint32{req + 1, req - abi.StoreRing - 1, req + 1<<30} {
		binary.LittleEndian.PutUint32(p[abi.StoreReqCons:], v)
		if _, err := r.c.Read(r.ctx, "name"); !errors.Is(err, ErrBroken) {
			t.Errorf("request consumer %#x: %v", v, err)
		}
		if r.ctx.Err() != nil {
			t.Fatal("a call waited for its time-out")
		}
		binary.LittleEndian.PutUint32(p[abi.StoreReqCons:], req)
		r.revive()
		req = binary.LittleEndian.Uint32(p[abi.StoreReqProd:])
	}
}

// TestSplitAnywhere: messages that come in pieces of any size.
func TestSplitAnywhere(t *testing.T) {
	for size := 1; size <= 40; size += 3 {
		r := open(t)
		want := strings.Repeat("value", 30)
		r.s.Answer(func(typ, id uint32, _ []byte) ([]byte, bool) { return nil, true })
		done := make(chan string)
		go func() {
			v, err := r.c.Read(r.ctx, "name")
			if err != nil {
				t.Error(err)
			}
			done <- v
		}()
		for r.s.Requests() == 0 {
			runtime.Gosched()
		}
		raw := append(xentest.Message(abi.StoreWatchEvent, 0, "a\x00b\x00"), xentest.Message(abi.StoreRead, 1, want)...)
		for piece := range slices.Chunk(raw, size) {
			r.s.Raw(piece)
			time.Sleep(50 * time.Microsecond)
		}
		if v := <-done; v != want {
			t.Fatalf("pieces of %d bytes: %.20q", size, v)
		}
	}
}

// TestStoreStrings: values, names and errors of any length and content.
func TestStoreStrings(t *testing.T) {
	for _, v := range []string{
		"", "\x00", strings.Repeat("\x00", 4096), strings.Repeat("A", 4096), "%s%n%x", "../../..",
		"\xff\xfe\xfd", "18446744073709551616", strings.Repeat("9", 400), "\n\x1b[2J",
	} {
		r := open(t)
		r.s.Answer(func(typ, id uint32, _ []byte) ([]byte, bool) { return xentest.Message(typ, id, v), true })
		if got, err := r.c.Read(r.ctx, "x"); err != nil || got != v {
			t.Errorf("read of %.10q = %.10q, %v", v, got, err)
		}
		if names, err := r.c.Directory(r.ctx, "x"); err != nil || len(names) > 4096 {
			t.Errorf("directory of %.10q: %d names, %v", v, len(names), err)
		}
		if err := r.c.Transact(r.ctx, func(Tx) error { return nil }); err == nil {
			t.Errorf("transaction %.10q", v)
		}
		r.s.Answer(func(typ, id uint32, _ []byte) ([]byte, bool) { return xentest.Message(abi.StoreError, id, v), true })
		if _, err := r.c.Read(r.ctx, "x"); err == nil || len(err.Error()) > 300 {
			t.Errorf("error reply %.10q: %v", v, err)
		}
	}
}

// TestEventStorm (CVE-2021-28712's kind): events without end cost bounded memory
// and leave time for others, and calls still end.
func TestEventStorm(t *testing.T) {
	r := open(t)
	w, err := r.c.Watch(r.ctx, "device")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(r.ctx, 150*time.Millisecond)
	defer stop()
	storm := slices.Repeat(xentest.Message(abi.StoreWatchEvent, 0, "device\x00"+w.token+"\x00"), 8)
	storm = append(storm, xentest.Message(abi.StoreWatchEvent, 0, "no such\x00token\x00")...)
	storm = append(storm, xentest.Message(abi.StoreWatchEvent, 0, "no token")...)
	storm = append(storm, xentest.Message(abi.StoreWatchEvent, 0, "")...)
	for ctx.Err() == nil {
		r.s.Raw(storm)
		for ctx.Err() == nil && r.s.Backlog() > 0 {
			r.s.Raw(nil)
			runtime.Gosched()
		}
	}
	st := r.c.Stats()
	if st.Events < stormLimit || st.Strays == 0 || st.Pauses == 0 {
		t.Errorf("after a storm: %+v", st)
	}
	if limit := uint64(200*time.Millisecond/stormWindow+1) * 2 * stormLimit; st.Events > limit {
		t.Errorf("%d events taken in 150 ms, want %d at most", st.Events, limit)
	}
	r.told(w)
	r.reads("name", "ampoule")
}

// TestIDsReused: a reply to a request that was given up long ago is dropped once,
// and a second one is a breach.
func TestIDsReused(t *testing.T) {
	r := open(t)
	r.s.Answer(func(typ, id uint32, _ []byte) ([]byte, bool) { return nil, true })
	if _, err := r.c.Read(r.soon(), "name"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	r.s.Answer(nil)
	r.s.Raw(xentest.Message(abi.StoreRead, 1, "late"))
	r.reads("name", "ampoule")
	r.s.Raw(xentest.Message(abi.StoreRead, 1, "late"))
	for r.c.Err() == nil && r.ctx.Err() == nil {
		runtime.Gosched()
	}
	if err := r.c.Err(); !errors.Is(err, ErrBroken) {
		t.Errorf("after a replayed reply: %v", err)
	}
}

// TestNeverAnswers: a store that takes requests and answers none does not make
// the client remember them all.
func TestNeverAnswers(t *testing.T) {
	r := open(t)
	r.s.Answer(func(typ, id uint32, _ []byte) ([]byte, bool) { return nil, true })
	for range maxLate + 1 {
		ctx, cancel := context.WithTimeout(r.ctx, time.Millisecond)
		r.c.Read(ctx, "name")
		cancel()
	}
	if _, err := r.c.Read(r.ctx, "name"); !errors.Is(err, ErrBroken) {
		t.Errorf("after %d requests without reply: %v", maxLate+1, err)
	}
}
