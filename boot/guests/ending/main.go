//go:build ampoule

// Command ending is the guest that ends in every way a program can: the word
// end=NAME of the kernel command line says how.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"ampoule/boot/guests/bare"
)

// inInit panics before main does anything, when asked to.
var inInit = func() bool {
	if bare.Option("end") == "init-panic" {
		panic("in init")
	}
	return false
}()

// Variables that the compiler knows nothing about.
var (
	zero  int
	null  *int
	words []int
	hold  [][]byte
	chain *link
)

type link struct {
	next *link
	_    [100]byte
}

// bigKey is slow to compare, so that a tick finds a map in the middle of a
// write.
type bigKey [4096]float64

var ends = map[string]func(){
	"return":      func() {},
	"exit0":       func() { os.Exit(0) },
	"exit7":       func() { os.Exit(7) },
	"exit128":     func() { os.Exit(128) },
	"exit-in-go":  func() { go os.Exit(9); select {} },
	"panic":       func() { panic("on purpose") },
	"panic-error": func() { panic(fmt.Errorf("wrapped: %w", errors.New("inner"))) },
	"panic-in-go": func() { go func() { panic("elsewhere") }(); select {} },
	"panic-defer": func() { defer func() { panic("second") }(); panic("first") },
	"nil":         func() { *null = 1 },
	"index":       func() { words[zero+2] = 1 },
	"divide":      func() { zero = 1 / zero },
	"goexit":      func() { runtime.Goexit() },
	"deadlock":    func() { <-make(chan int) },
	"select":      func() { select {} },
	"mutexes":     mutexes,
	"map-write":   mapWrite,
	"unlock":      func() { new(sync.Mutex).Unlock() },
	"oom-large":   func() { hold = append(hold, make([]byte, 1<<30)) },
	"oom-slices":  oomSlices,
	"oom-small":   oomSmall,
	"oom-stacks":  oomStacks,
	"stack":       func() { println(recurse(1)) },
	"stack-go":    func() { go func() { println(recurse(1)) }(); select {} },
	"wild":        func() { bare.Store(0xdead000, 1) },
	"spin-exit":   spinExit,
}

func main() {
	name := bare.Option("end")
	f := ends[name]
	if f == nil || inInit {
		println("unknown end", name)
		os.Exit(99)
	}
	println("ending by", name)
	f()
}

// mutexes locks itself out, with a second goroutine waiting for the first.
func mutexes() {
	var mu sync.Mutex
	var wg sync.WaitGroup
	wg.Go(func() {
		mu.Lock()
		mu.Lock()
	})
	wg.Wait()
}

// mapWrite writes one map from two goroutines until the runtime sees it.
func mapWrite() {
	m := map[bigKey]int{{}: 1}
	for range 2 {
		go func() {
			for {
				m[bigKey{}]++
			}
		}()
	}
	time.Sleep(20 * time.Second)
	println("not seen")
}

func oomSlices() {
	for {
		hold = append(hold, slices.Repeat([]byte{1}, 300<<10))
	}
}

func oomSmall() {
	for {
		chain = &link{next: chain}
	}
}

func oomStacks() {
	for {
		go func() {
			grow(100)
			select {}
		}()
		runtime.Gosched()
	}
}

//go:noinline
func grow(n int) int {
	var pad [64]int
	pad[n&63] = n
	if n == 0 {
		return pad[3]
	}
	return grow(n-1) + pad[n&63]
}

//go:noinline
func recurse(n int) int {
	var pad [16]int
	pad[n&15] = n
	//lint:ignore SA5007 the stack must overflow
	return recurse(n+1) + pad[(n+1)&15]
}

// spinExit leaves from one goroutine while another computes.
func spinExit() {
	go func() {
		for n := 1; n != 0; n += 2 {
			zero += n & 1 >> 1
		}
	}()
	time.Sleep(30 * time.Millisecond)
	os.Exit(13)
}
