//go:build ampoule

package main

import (
	"hash/fnv"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"ampoule/boot/guests/bare"
	"ampoule/libos/memory"
)

var memoryChecks = []check{
	{"gc-2gib", gc2GiB},
	{"maps", mapWork},
	{"finalizer", finalizers},
	{"cleanup", cleanups},
	{"big-stack", bigStacks},
	{"many-stacks", manyStacks},
	{"forced-gc", forcedGC},
	{"make-too-large", makeTooLarge},
	{"room", room},
}

// block is a piece of a live set: its content says where it belongs.
type block struct {
	key  int
	next *block
	data []byte
}

func newBlock(key, size int) *block {
	b := &block{key: key, data: make([]byte, size)}
	for i := 0; i < size; i += 512 {
		b.data[i] = byte(key + i>>9)
	}
	return b
}

func (b *block) intact() bool {
	for i := 0; i < len(b.data); i += 512 {
		if b.data[i] != byte(b.key+i>>9) {
			return false
		}
	}
	return true
}

// gc2GiB allocates 2 GiB in all, in sizes from words to megabytes, with a live
// set of about 8 MiB that must stay intact. Where that takes too long, the word
// mib=N of the command line says how much it is.
func gc2GiB(r *report) {
	total := uint64(2 << 30)
	if n, err := strconv.ParseUint(bare.Option("mib"), 10, 32); err == nil {
		total = n << 20
	}
	sizes := []int{16, 100, 1000, 4 << 10, 30 << 10, 256 << 10, 2 << 20}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	live := make([]*block, 256) // of up to 30 KiB each in turn, and as many behind them
	done := uint64(0)
	for i := 0; done < total; i++ {
		size := sizes[i%len(sizes)]
		b := newBlock(i, size)
		done += uint64(size)
		if size > 32<<10 {
			continue
		}
		at := i * 31 % len(live)
		if old := live[at]; old != nil && !old.intact() {
			r.errorf("block %d of %d bytes was overwritten", old.key, len(old.data))
			return
		}
		b.next = live[(at+1)%len(live)]
		if b.next != nil {
			b.next.next = nil // no endless chains
		}
		live[at] = b
	}
	for _, b := range live {
		if b != nil && !b.intact() {
			r.errorf("block %d was overwritten", b.key)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got < total {
		r.errorf("only %d bytes were allocated", got)
	}
	n := after.NumGC - before.NumGC
	if n < 10 {
		r.errorf("%d collections for %d MiB in this machine", n, total>>20)
	}
	r.notef("%d collections, %d MiB from the system", n, after.Sys>>20)
}

func mapWork(r *report) {
	m := map[string]int{}
	const n = 50000
	for i := range n {
		m["key "+strconv.Itoa(i)] = i
	}
	for i := 0; i < n; i += 3 {
		delete(m, "key "+strconv.Itoa(i))
	}
	if want := n - (n+2)/3; len(m) != want {
		r.errorf("%d entries, want %d", len(m), want)
	}
	for k, v := range m {
		if k != "key "+strconv.Itoa(v) || v%3 == 0 {
			r.errorf("entry %q is %d", k, v)
			return
		}
	}
	type key struct {
		a float64
		b any
	}
	odd := map[key][]int{}
	for i := range 1000 {
		k := key{float64(i % 100), i % 7}
		odd[k] = append(odd[k], i)
	}
	if len(odd) != 700 {
		r.errorf("%d struct keys, want 700", len(odd))
	}
	a, b := slices.Collect(maps.Keys(odd)), slices.Collect(maps.Keys(odd))
	if slices.Equal(a, b) {
		r.errorf("two iterations over a map had the same order: no randomness")
	}
	clear(m)
	if len(m) != 0 {
		r.errorf("clear left %d", len(m))
	}
}

func finalizers(r *report) {
	var ran atomic.Int32
	for range 10 {
		p := new([100]int)
		runtime.SetFinalizer(p, func(*[100]int) { ran.Add(1) })
	}
	if !eventually(func() bool { runtime.GC(); return ran.Load() >= 9 }) {
		r.errorf("%d of 10 finalizers ran", ran.Load())
	}
}

func cleanups(r *report) {
	var ran atomic.Int32
	for i := range 10 {
		p := new([100]int)
		runtime.AddCleanup(p, func(n int) { ran.Add(int32(n)) }, i)
	}
	if !eventually(func() bool { runtime.GC(); return ran.Load() >= 36 }) {
		r.errorf("cleanups added up to %d of 45", ran.Load())
	}
}

// eventually tries f for two seconds.
func eventually(f func() bool) bool {
	for range 200 {
		if f() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// deep recurses with a frame of its own content, which must survive the moves
// of a growing stack.
//
//go:noinline
func deep(n int, parent *[32]int) int {
	var frame [32]int
	for i := range frame {
		frame[i] = n + i
	}
	if n == 0 {
		return parent[0]
	}
	got := deep(n-1, &frame)
	for i := range frame {
		if frame[i] != n+i {
			return -1
		}
	}
	return got
}

// bigStacks grows a stack to 4 MiB, a legal size here, several times over.
func bigStacks(r *report) {
	for range 3 {
		done := make(chan int)
		go func() { done <- deep(10000, new([32]int)) }()
		if got := <-done; got != 1 {
			r.errorf("deep recursion returned %d, want 1", got)
		}
	}
}

func manyStacks(r *report) {
	done := make(chan int)
	for range 100 {
		go func() {
			v := deep(200, new([32]int))
			runtime.Gosched()
			done <- v + deep(100, new([32]int))
		}()
	}
	for range 100 {
		if v := <-done; v != 2 {
			r.errorf("recursion returned %d", v)
		}
	}
	runtime.GC() // shrinks stacks
}

// forcedGC makes the runtime's two minutes short and waits for the collection
// that it then owes an idle program, and one that computes.
func forcedGC(r *report) {
	old := forceGCPeriod
	if old != 2*60*1e9 {
		r.errorf("forced collections are %d ns apart, want two minutes", old)
	}
	forceGCPeriod = 30e6
	defer func() { forceGCPeriod = old }()
	runtime.GC()
	for name, work := range map[string]func(){
		"idle": func() { time.Sleep(20 * time.Millisecond) },
		"busy": func() { spinFor(20 * time.Millisecond) },
	} {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		start := time.Now()
		for b = a; b.NumGC < a.NumGC+3 && time.Since(start) < 10*time.Second; runtime.ReadMemStats(&b) {
			work()
		}
		took := time.Since(start)
		if n := b.NumGC - a.NumGC; n < 3 || took < 50*time.Millisecond {
			r.errorf("%s: %d collections in %v with a period of 30 ms", name, n, took)
		}
		r.notef("%s: %v for three", name, took.Round(time.Millisecond))
	}
}

func spinFor(d time.Duration) {
	h := fnv.New64()
	for start := time.Now(); time.Since(start) < d; {
		h.Write([]byte("x"))
	}
}

// makeTooLarge: a length that no machine has is a panic, not the end.
func makeTooLarge(r *report) {
	n := 1 << 60
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			r.errorf("make of 2^60 bytes did not panic with a runtime.Error")
		}
	}()
	r.notef("%d", len(make([]byte, n)))
}

// room: free pages that lie apart are no room for what needs several in a row.
func room(r *report) {
	machine := memory.Here()
	machine.Collect()
	before, all := machine.Room()
	const page = 8 << 10
	pieces := make([][]byte, 0, all/page)
	for free := before; free > 0 && len(pieces) < cap(pieces); free, _ = machine.Room() {
		pieces = append(pieces, make([]byte, page))
	}
	for i := 0; i < len(pieces); i += 2 {
		pieces[i] = nil
	}
	machine.Collect()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if free, _ := machine.Room(); free != 0 || stats.HeapIdle < before/4 {
		r.errorf("with every other page free there is room for %d bytes, %d are free", free, stats.HeapIdle)
	}
	clear(pieces)
	machine.Collect()
	if free, _ := machine.Room(); free < before/4*3 {
		r.errorf("room for %d bytes when all is free again, %d before", free, before)
	}
	r.notef("%d pages", len(pieces))
}
